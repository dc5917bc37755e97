import math

import numpy as np
import pytest
import torch

from facerecon.render.reference import shade_image_reference
from facerecon.render.shading import linear_to_srgb, shade, shade_image, srgb_to_linear


def test_constant_light_scales_the_albedo():
    albedo = torch.tensor([[[0.2, 0.4, 0.6]]])
    light = torch.zeros(1, 9, 3)
    light[:, 0] = torch.tensor([1.0, 2.0, 3.0]) * math.sqrt(4 * math.pi)
    torch.testing.assert_close(shade(albedo, torch.tensor([[[0.0, 0, 1]]]), light), torch.tensor([[[0.2, 0.8, 1.8]]]))


def test_white_light_from_the_right_lights_the_right():
    light = torch.zeros(1, 9, 1)
    light[:, 0], light[:, 3] = 1.0, 0.5
    normals = torch.tensor([[[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 1.0]]])
    shaded = shade(torch.ones(1, 3, 3), normals, light)
    expected = torch.tensor([0.282095 + 0.244301, 0.282095 - 0.244301, 0.282095])
    torch.testing.assert_close(shaded[0, :, 1], expected, atol=1e-6, rtol=0)
    assert torch.equal(shaded[..., 0], shaded[..., 2])


def test_every_image_has_its_own_light():
    generator = torch.Generator().manual_seed(0)
    albedo, light = torch.rand(2, 4, 3, generator=generator), torch.rand(2, 9, 3, generator=generator)
    normals = torch.nn.functional.normalize(torch.randn(2, 4, 3, generator=generator), dim=-1)
    both = shade(albedo, normals, light)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], shade(albedo[i : i + 1], normals[i : i + 1], light[i : i + 1]))


def test_shade_gradients_and_bad_shapes():
    generator = torch.Generator().manual_seed(1)
    arguments = [
        torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)
        for shape in ((2, 3, 3), (2, 3, 3), (2, 9, 1))
    ]
    assert torch.autograd.gradcheck(shade, arguments)
    albedo, normals, light = arguments
    with pytest.raises(ValueError, match="albedo"):
        shade(albedo[0], normals, light)
    with pytest.raises(ValueError, match="normals_view"):
        shade(albedo, normals[:, :2], light)
    with pytest.raises(ValueError, match="light"):
        shade(albedo, normals, light[:, :8])


def random_image(dtype=torch.float64, batch=2, height=3, width=4):
    """Albedo and unit normals (batch, height, width, 3), with one normal that is zero."""
    generator = torch.Generator().manual_seed(2)
    albedo = torch.rand(batch, height, width, 3, dtype=dtype, generator=generator)
    normals = torch.randn(batch, height, width, 3, dtype=dtype, generator=generator)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    normals[0, 0, 0] = 0
    return albedo, normals, generator


def test_channels_of_an_illumination_map_by_hand():
    albedo, normals = torch.full((1, 1, 2, 3), 0.5), torch.tensor([[[[1.0, 0, 0], [0, 1.0, 0]]]])
    light = torch.zeros(1, 1, 2, 27)
    light[..., 1] = 2.0  # the constant term of green
    light[..., 3 * 3 + 2] = 1.0  # term 3, x, of blue
    shaded = shade_image(albedo, normals, light)
    torch.testing.assert_close(shaded[0, 0, 0], torch.tensor([0, 0.282095, 0.5 * 0.488603]))
    torch.testing.assert_close(shaded[0, 0, 1], torch.tensor([0, 0.282095, 0]))


@pytest.mark.parametrize("light_shape", [(9, 1), (9, 3), (3, 4, 27), (3, 4, 9, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_shaded_images_equal_the_reference(light_shape, dtype, tolerance):
    albedo, normals, generator = random_image(dtype)
    light = torch.randn(2, *light_shape, dtype=dtype, generator=generator)
    expected = shade_image_reference(albedo, normals, light)
    torch.testing.assert_close(shade_image(albedo, normals, light), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("light_shape", [(9, 1), (9, 3), (3, 4, 27)])
def test_shaded_images_have_gradients(light_shape):
    albedo, normals, generator = random_image()
    light = torch.randn(2, *light_shape, dtype=torch.float64, generator=generator)
    arguments = [tensor.requires_grad_() for tensor in (albedo, normals, light)]
    assert torch.autograd.gradcheck(shade_image, arguments)


def test_a_constant_map_is_one_light_and_an_image_is_its_pixels():
    albedo, normals, generator = random_image(torch.float32)
    light = torch.randn(2, 9, 3, generator=generator)
    image = shade_image(albedo, normals, light)
    constant = light.reshape(2, 1, 1, 27).expand(2, 3, 4, 27)
    torch.testing.assert_close(shade_image(albedo, normals, constant), image)
    vertices = shade(albedo.flatten(1, 2), normals.flatten(1, 2), light)
    torch.testing.assert_close(image.flatten(1, 2), vertices)


@pytest.mark.parametrize("light_shape", [(9, 3), (3, 4, 27)])
def test_one_albedo_under_many_lights(light_shape):
    albedo, normals, generator = random_image(torch.float32, batch=1)
    light = torch.randn(5, *light_shape, generator=generator)
    shaded = shade_image(albedo, normals, light)
    assert shaded.shape == (5, 3, 4, 3)
    torch.testing.assert_close(shaded[3:4], shade_image(albedo, normals, light[3:4]))


@pytest.mark.parametrize("light_shape", [(9, 1), (1, 1, 27)])
def test_single_pixels_and_no_pixels(light_shape):
    ones = torch.ones(1, 1, 1, 3)
    light = torch.zeros(1, *light_shape)
    light[..., : 3 if len(light_shape) == 3 else 1] = 2
    assert shade_image(ones, ones * 0, light).shape == (1, 1, 1, 3)
    empty = torch.ones(0, 1, 1, 3)
    assert shade_image(empty, empty, light[:0]).shape == (0, 1, 1, 3)


def test_bad_shapes_of_images():
    albedo, normals, _ = random_image()
    light = torch.zeros(2, 9, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="albedo must be"):
        shade_image(albedo[0], normals, light)
    with pytest.raises(ValueError, match="normals_view must be"):
        shade_image(albedo, normals[:, :2], light)
    with pytest.raises(ValueError, match="light must be"):
        shade_image(albedo, normals, light[..., :2])
    with pytest.raises(ValueError, match=r"a map \(B, 3, 4, 27\)"):
        shade_image(albedo, normals, torch.zeros(2, 4, 3, 27, dtype=torch.float64))
    with pytest.raises(ValueError, match="batches of"):
        shade_image(albedo, normals, torch.zeros(3, 9, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="batches of"):
        shade_image(albedo, normals, torch.zeros(3, 3, 4, 27, dtype=torch.float64))


@pytest.mark.parametrize(
    ("linear", "srgb"),
    # 0.214041 is the linear value of sRGB 0.5, 0.0212190 that of 0.155; 0.0015 lies on the straight part.
    [(0.0, 0.0), (1.0, 1.0), (0.21404114, 0.5), (0.0015, 0.01938), (0.18, 0.461356)],
)
def test_srgb_curve(linear, srgb):
    assert linear_to_srgb(torch.tensor(linear)).item() == pytest.approx(srgb, abs=1e-6)
    assert linear_to_srgb(np.float64(linear)) == pytest.approx(srgb, abs=1e-6)
    assert srgb_to_linear(torch.tensor(srgb)).item() == pytest.approx(linear, abs=1e-6)
    assert srgb_to_linear(np.float64(srgb)) == pytest.approx(linear, abs=1e-6)


def test_srgb_inverse_and_dtype():
    values = torch.linspace(-0.2, 1.5, 500, dtype=torch.float64)
    # The published constants of the two branches meet to within 1e-7 only.
    torch.testing.assert_close(srgb_to_linear(linear_to_srgb(values)), values, atol=2e-7, rtol=0)
    assert linear_to_srgb(np.zeros(3, np.float32)).dtype == np.float32
    np.testing.assert_allclose(linear_to_srgb(values.numpy()), linear_to_srgb(values).numpy(), rtol=1e-14)


@pytest.mark.parametrize("function", [linear_to_srgb, srgb_to_linear])
def test_srgb_gradients_are_finite_and_positive_everywhere(function):
    values = torch.tensor([-1.0, 0.0, 1e-30, 0.001, 0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(values).sum(), values)
    assert torch.isfinite(gradient).all() and (gradient > 0).all() and gradient.max() <= 12.93
    assert torch.autograd.gradcheck(function, values)
