import pytest
import torch

from facerecon.render.reference import sample_texture_reference
from facerecon.render.texture import render_textured_mesh, sample_texture, sample_texture_torch

CHESS = torch.tensor([[[[0.0], [1.0]], [[2.0], [5.0]]]])
"""Two by two texels: the upper row is 0, 1."""
EVERYWHERE = torch.tensor([[[True]]])
SQUARE = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10], [4, 0, 10]]])
SQUARE_TRIANGLES = torch.tensor([[0, 1, 2], [0, 2, 3]])
SQUARE_UV = torch.tensor([[0.0, 1], [0, 0], [1, 0], [1, 1]])


def all_everywhere(texture, uv_image):
    return sample_texture_torch(texture, uv_image, torch.ones(uv_image.shape[:3], dtype=torch.bool))


def random_lookup(seed=0, texture_batch=2, texture_size=(7, 5), channels=3, dtype=torch.float64, spread=0.2):
    """A texture, coordinates that reach beyond its borders, and a mask with holes."""
    generator = torch.Generator().manual_seed(seed)
    texture = torch.rand(texture_batch, *texture_size, channels, dtype=dtype, generator=generator)
    uv_image = torch.rand(2, 6, 4, 2, dtype=dtype, generator=generator) * (1 + 2 * spread) - spread
    return texture, uv_image, torch.rand(2, 6, 4, generator=generator) < 0.7


@pytest.mark.parametrize("function", [sample_texture, all_everywhere])
@pytest.mark.parametrize(
    ("u", "v", "expected"),
    [
        (0.25, 0.75, 0.0),  # the centre of the upper left texel
        (0.75, 0.75, 1.0),
        (0.25, 0.25, 2.0),
        (0.5, 0.5, 2.0),  # the mean of all four
        (0.5, 0.75, 0.5),
        (0.375, 0.25, 2.75),
        (0.0, 1.0, 0.0),  # corners take the outermost texel
        (3.0, -2.0, 5.0),
        (float("inf"), -float("inf"), 5.0),
        (float("nan"), 0.5, 0.0),
    ],
)
def test_by_hand(function, u, v, expected):
    assert function(CHESS, torch.tensor([[[[u, v]]]])).item() == pytest.approx(expected)


def test_where_the_mask_is_false_nothing_is_seen_and_nothing_moves():
    texture = CHESS.clone().requires_grad_()
    uv_image = torch.tensor([[[[0.6, 0.6], [float("nan"), 0.5], [0.6, 0.6]]]], requires_grad=True)
    mask = torch.tensor([[[False, True, True]]])
    for function in (sample_texture, sample_texture_torch):
        image = function(texture, uv_image, mask)
        assert (image[0, 0, :2] == 0).all() and image[0, 0, 2] != 0
        by_texture, by_uv = torch.autograd.grad(image.sum(), (texture, uv_image))
        assert by_texture.sum() == pytest.approx(1)
        assert (by_uv[0, 0, :2] == 0).all() and (by_uv[0, 0, 2] != 0).all()


@pytest.mark.parametrize("function", [sample_texture, sample_texture_torch])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
@pytest.mark.parametrize("options", [{}, {"texture_batch": 1}, {"channels": 30}, {"texture_size": (1, 1)}])
def test_equals_the_reference_with_gradients(function, dtype, tolerance, options):
    texture, uv_image, mask = random_lookup(dtype=dtype, **options)
    weights = torch.randn(2, 6, 4, texture.shape[-1], dtype=dtype, generator=torch.Generator().manual_seed(1))
    results = []
    for lookup in (function, sample_texture_reference):
        arguments = texture.clone().requires_grad_(), uv_image.clone().requires_grad_()
        image = lookup(*arguments, mask)
        results.append((image.detach(), *torch.autograd.grad((image * weights).sum(), arguments)))
    for fast, slow in zip(*results, strict=True):
        assert torch.linalg.norm(fast - slow) <= tolerance * (torch.linalg.norm(slow) + 1e-30)


@pytest.mark.parametrize("texture_batch", [1, 2])
def test_gradients(texture_batch):
    texture, uv_image, mask = random_lookup(2, texture_batch)
    assert torch.autograd.gradcheck(
        lambda t, u: sample_texture(t, u, mask), (texture.requires_grad_(), uv_image.requires_grad_())
    )


def test_beyond_the_border_coordinates_have_no_gradient():
    uv_image = torch.tensor([[[[1.2, 0.6], [0.6, -0.3], [0.1, 0.6]]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(sample_texture(CHESS, uv_image).sum(), uv_image)
    assert (gradient[0, 0, 0, 0], gradient[0, 0, 1, 1], gradient[0, 0, 2, 0]) == (0, 0, 0)
    # du: 2 texels to the right, 0.8 of the way up: 2 (0.7 (1 - 0) + 0.3 (5 - 2)); 0.6 is 0.7 of the way to the top row.
    assert gradient[0, 0, 1, 0] == pytest.approx(2 * 3) and gradient[0, 0, 0, 1] == pytest.approx(-2 * 4)


@pytest.mark.parametrize("texture_batch", [1, 4])
def test_batch_equals_single_on_any_number_of_threads(texture_batch):
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(texture_batch, 9, 9, 3, generator=generator)
    uv_image = torch.rand(4, 8, 8, 2, generator=generator)
    threads = torch.get_num_threads()
    gradients = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            leaf = texture.clone().requires_grad_()
            batched = sample_texture(leaf, uv_image)
            gradients.append(torch.autograd.grad(batched.square().sum(), leaf)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*gradients)
    for i in range(4):
        own = texture[i : i + 1] if texture_batch > 1 else texture
        assert torch.equal(batched[i : i + 1], sample_texture(own, uv_image[i : i + 1]))


def test_empty_images():
    assert sample_texture(CHESS, torch.zeros(0, 3, 4, 2)).shape == (0, 3, 4, 1)
    assert sample_texture(CHESS, torch.zeros(1, 0, 4, 2)).shape == (1, 0, 4, 1)


def test_bad_lookups():
    texture, uv_image, mask = random_lookup(dtype=torch.float32)
    with pytest.raises(ValueError, match="uv_image must be"):
        sample_texture(texture, uv_image[..., :1])
    with pytest.raises(ValueError, match="texture must be"):
        sample_texture(texture[0], uv_image)
    with pytest.raises(ValueError, match="with B = 2 or 1"):
        sample_texture(texture[:1].expand(3, -1, -1, -1), uv_image)
    with pytest.raises(ValueError, match="texture must be"):
        sample_texture(texture[:, :0], uv_image)
    with pytest.raises(ValueError, match="make both"):
        sample_texture(texture, uv_image.double())
    with pytest.raises(ValueError, match="make both"):
        sample_texture(texture.long(), uv_image)
    with pytest.raises(ValueError, match="mask must be"):
        sample_texture(texture, uv_image, mask[:1])
    with pytest.raises(ValueError, match="mask must be"):
        sample_texture(texture, uv_image, mask.float())
    with pytest.raises(ValueError, match="mask is on meta"):
        sample_texture(texture, uv_image, mask.to("meta"))


def test_a_square_shows_its_texture_texel_by_texel():
    texture = torch.rand(1, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    image, mask = render_textured_mesh(SQUARE, SQUARE_TRIANGLES, SQUARE_UV, texture, 4, 6)
    expected = torch.nn.functional.pad(texture, (0, 0, 0, 2))
    torch.testing.assert_close(image, expected)
    assert mask[0, :, :4].all() and not mask[0, :, 4:].any()


def test_the_texture_is_looked_up_in_perspective():
    # The right side is three times as far: the middle of the image shows the texture at 1/3 / (1 + 1/3) of its width.
    square = SQUARE.clone()
    square[0, 2:, 2] = 30
    ramp = ((torch.arange(64) + 0.5) / 64).expand(1, 64, 64)[..., None]
    image, _ = render_textured_mesh(square, SQUARE_TRIANGLES, SQUARE_UV, ramp, 4)
    for column, x in enumerate((0.125, 0.375, 0.625, 0.875)):
        expected = (x / 30) / (x / 30 + (1 - x) / 10)
        torch.testing.assert_close(image[0, :, column, 0], torch.full((4,), expected), atol=1e-5, rtol=0)


def test_one_texture_for_a_batch_with_gradients(closed_mesh):
    vertices, triangles = closed_mesh(0, batch=2)
    vertices.requires_grad_()
    uv = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    texture = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    image, mask = render_textured_mesh(vertices, triangles, uv.numpy(), texture, 32)
    assert image.shape == (2, 32, 32, 3) and (image[~mask] == 0).all() and (image[mask] > 0).all()
    image.square().sum().backward()
    assert vertices.grad.abs().sum() > 0 and texture.grad.shape == (1, 16, 16, 3) and texture.grad.abs().sum() > 0


def test_without_culling_the_back_of_a_square_wears_the_texture_too():
    seen_from_behind = SQUARE_TRIANGLES.flip(1).contiguous()
    texture = torch.rand(1, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    assert not render_textured_mesh(SQUARE, seen_from_behind, SQUARE_UV, texture, 4)[1].any()
    image, _ = render_textured_mesh(SQUARE, seen_from_behind, SQUARE_UV, texture, 4, cull=False)
    torch.testing.assert_close(image, texture)


def test_nan_vertices_empty_meshes_and_single_pixels():
    broken = torch.cat([SQUARE, SQUARE * float("nan")], 1)
    triangles = torch.cat([SQUARE_TRIANGLES, SQUARE_TRIANGLES + 4])
    texture = torch.full((1, 1, 1, 2), 0.5)
    image, mask = render_textured_mesh(broken, triangles, SQUARE_UV.repeat(2, 1), texture, 4)
    assert mask.all() and (image == 0.5).all()
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    image, mask = render_textured_mesh(torch.zeros(2, 0, 3), nothing, torch.zeros(0, 2), texture, 3, 1)
    assert image.shape == (2, 3, 1, 2) and not image.any() and not mask.any()
    image, mask = render_textured_mesh(SQUARE, SQUARE_TRIANGLES, SQUARE_UV, texture, 1)
    assert mask.item() and (image == 0.5).all()


def test_uv_that_do_not_fit_the_mesh():
    with pytest.raises(ValueError, match=r"uv must be \(V, 2\) with V = 4"):
        render_textured_mesh(SQUARE, SQUARE_TRIANGLES, SQUARE_UV[:3], CHESS, 4)
