"""amplitude_phase at inference: the start, the decoder's geometry and the weights file."""

import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.geometry.cameras import project_standard_crop
from facerecon.geometry.spherical_harmonics import sh_basis
from facerecon.morphable.parameters import FaceParameters
from facerecon.networks.weights import save_weights
from facerecon.systems.amplitude_phase.model import (
    AmplitudePhase,
    CoefficientNetwork,
    FaceDecoder,
    load_system,
    resize_crops,
)
from facerecon.systems.amplitude_phase.settings import NetworkSettings


@pytest.fixture(scope="module")
def network(face_model):
    torch.manual_seed(0)
    return CoefficientNetwork(face_model.dimensions, NetworkSettings())


def trained_a_little(network):
    with torch.no_grad():
        network.heads.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return network


def test_the_start_is_the_mean_face_in_the_middle(face_model):
    torch.manual_seed(0)
    network = CoefficientNetwork(face_model.dimensions, NetworkSettings())
    coefficients = network(torch.rand(2, 3, 112, 112))
    face = FaceDecoder(face_model, 112).reconstruct(coefficients)
    assert torch.allclose(face.vertices, face_model.mean.expand_as(face.vertices))
    assert coefficients.rotation.abs().max() == 0
    assert coefficients.translation.tolist() == [[0, 0, 1000]] * 2
    # The head frame's origin, the mean landmark, is at the crop's centre.
    assert torch.allclose(face.landmarks.mean(1), torch.full((2, 2), 56.0), atol=0.3)


def test_the_starting_light_shades_frontal_surfaces_by_one(face_model):
    light = CoefficientNetwork(face_model.dimensions, NetworkSettings()).eval()(torch.rand(1, 3, 112, 112)).light
    normals = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, -1]])
    torch.testing.assert_close((sh_basis(normals) @ light)[0, :, 0], torch.tensor([1.0, 0.7, 0.7, 0.4]))


def test_coefficients_have_the_model_s_sizes(network):
    sizes = {name: values.shape for name, values in network(torch.rand(2, 3, 112, 112))._asdict().items()}
    assert sizes == {
        "identity": (2, 80),
        "expression": (2, 64),
        "albedo": (2, 80),
        "rotation": (2, 3),
        "translation": (2, 3),
        "light": (2, 9, 1),
    }


def test_a_batch_equals_its_images(network, face_model):
    system = AmplitudePhase(trained_a_little(network), face_model, NetworkSettings())
    crops = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    together = system.predict(crops)
    for k in range(3):
        for values, single in zip(together, system.predict(crops[k : k + 1]), strict=True):
            assert torch.allclose(values[k], single[0], rtol=1e-4, atol=1e-4)
    assert together.identity.abs().max() > 0.01


def test_uint8_and_float_crops_agree(network, face_model):
    system = AmplitudePhase(network, face_model, NetworkSettings())
    crops = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    as_float = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255.0
    assert torch.allclose(system.predict(crops).identity, system.predict(as_float).identity, atol=1e-6)


def test_known_places():
    # Camera frame: x right, y down, z away. 1.015 px/mm at the standard distance.
    points = torch.tensor([[[0.0, 0.0, 1000.0], [10.0, 0.0, 1000.0], [0.0, 10.0, 1000.0], [10.0, 0.0, 500.0]]])
    pixels = project_standard_crop(points)[0]
    assert pixels[0].tolist() == [112, 112, 1000]
    assert pixels[1, :2].tolist() == pytest.approx([122.15, 112])
    assert pixels[2, :2].tolist() == pytest.approx([112, 122.15])
    assert pixels[3].tolist() == pytest.approx([132.3, 112, 500])


def test_a_frontal_face_stands_upright_with_its_left_on_the_right(face_model, draw):
    frontal = draw(1)._replace(rotation=torch.zeros(1, 3), translation=torch.tensor([[0.0, 0.0, 1000.0]]))
    landmarks = FaceDecoder(face_model, 224).reconstruct(frontal).landmarks[0]
    # The jaw starts at the subject's right, which is the image's left; the chin is below the nose.
    assert landmarks[0, 0] < landmarks[30, 0] < landmarks[16, 0] and landmarks[8, 1] > landmarks[30, 1]
    turned = frontal._replace(rotation=torch.tensor([[0.0, 0.4, 0.0]]))
    assert FaceDecoder(face_model, 224).reconstruct(turned).landmarks[0, 30, 0] > landmarks[30, 0] + 5


def test_light_is_given_in_the_viewer_s_frame(face_model, draw):
    def mean_colours(axis):
        light = torch.zeros(1, 9, 1)
        light[0, 0], light[0, axis] = 2.0, 1.0
        image, mask = decoder.render(decoder.reconstruct(frontal._replace(light=light)))
        image = torch.where(mask[:, None], image, torch.nan)
        halves = image[..., :, :56], image[..., :, 56:], image[..., :56, :], image[..., 56:, :]
        return [half.nanmean().item() for half in halves]

    frontal = draw(1, spread=0.0)._replace(rotation=torch.zeros(1, 3), translation=torch.tensor([[0.0, 0.0, 1000.0]]))
    decoder = FaceDecoder(face_model, 112)
    left, right, upper, lower = mean_colours(3)
    assert right > left + 0.05
    left, right, upper, lower = mean_colours(1)
    assert upper > lower + 0.02 and abs(left - right) < 0.02


def test_cameras_agree_on_a_flat_face_and_not_in_depth(face_model, draw):
    """Both scale a face by 1 / distance; only perspective sees its near parts larger."""
    for distance in (500.0, 1000.0):
        coefficients = draw(1)._replace(translation=torch.tensor([[20.0, -10.0, distance]]))
        perspective = FaceDecoder(face_model, 224).reconstruct(coefficients).pixels[0]
        parallel = FaceDecoder(face_model, 224, "scaled_orthographic").reconstruct(coefficients).pixels[0]
        flat = (parallel[:, 2] - distance).abs() < 0.5
        expected = (parallel[:, :2] - 112) * distance / parallel[:, 2:]
        torch.testing.assert_close(perspective[:, :2] - 112, expected, rtol=1e-4, atol=1e-3)
        assert flat.any() and (perspective - parallel)[~flat].abs().max() > 2


def test_a_face_at_twice_the_distance_is_half_as_wide(face_model, draw):
    for camera, tolerance in (("scaled_orthographic", 1e-4), ("perspective", 0.05)):
        decoder = FaceDecoder(face_model, 224, camera)
        near, far = (
            decoder.reconstruct(draw(1)._replace(translation=torch.tensor([[0.0, 0.0, z]]))).pixels[0, :, 0]
            for z in (1000.0, 2000.0)
        )
        assert (torch.aminmax(far).max - 112).item() == pytest.approx(
            0.5 * (torch.aminmax(near).max - 112).item(), rel=tolerance
        )


def test_half_the_size_halves_the_pixels(face_model, draw):
    coefficients = draw(2)
    large, small = (FaceDecoder(face_model, size).reconstruct(coefficients) for size in (224, 112))
    assert torch.allclose(large.pixels[..., :2], 2 * small.pixels[..., :2], atol=1e-3)
    assert torch.allclose(large.landmarks, 2 * small.landmarks, atol=1e-3)
    assert torch.equal(large.colours, small.colours)


def test_gradients_reach_every_coefficient(face_model, draw):
    coefficients = FaceParameters(*(values.requires_grad_() for values in draw(1)))
    decoder = FaceDecoder(face_model, 112)
    image, _ = decoder.render(decoder.reconstruct(coefficients))
    (image * torch.linspace(0, 1, 112)).sum().backward()
    for name, values in coefficients._asdict().items():
        assert torch.isfinite(values.grad).all() and values.grad.abs().max() > 0, name


def test_a_dark_face_has_finite_gradients(face_model, draw):
    coefficients = draw(1)._replace(light=torch.zeros(1, 9, 1, requires_grad=True))
    decoder = FaceDecoder(face_model, 112)
    image, mask = decoder.render(decoder.reconstruct(coefficients))
    image.sum().backward()
    assert image.abs().max() == 0 and mask.any() and torch.isfinite(coefficients.light.grad).all()


def test_a_head_out_of_sight_covers_nothing(face_model, draw):
    coefficients = draw(1)._replace(translation=torch.tensor([[5000.0, 0.0, 1000.0]]))
    decoder = FaceDecoder(face_model, 112)
    image, mask = decoder.render(decoder.reconstruct(coefficients))
    assert not mask.any() and image.abs().max() == 0


def test_crops_are_averaged():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resize_crops(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert resize_crops(image, 4) is image
    with pytest.raises(InputError, match="cannot be averaged"):
        resize_crops(image, 3)


def card(face_model, **values):
    settings = {"network": {"backbone": "small", "camera": "perspective"}}
    return {"name": "amplitude_phase", "face_model_sha256": face_model.sha256, "settings": settings, **values}


def test_weights_round_trip(tmp_path, network, face_model):
    trained_a_little(network).eval()
    path = tmp_path / "model.safetensors"
    save_weights(path, network.state_dict(), card(face_model), half=False)
    system, found = load_system(path, face_model)
    assert found["name"] == "amplitude_phase" and not system.network.training
    image = torch.rand(1, 3, 112, 112)
    assert torch.equal(system.predict(image).identity, network(image).identity)


def test_weights_that_do_not_fit_are_refused(tmp_path, network, face_model):
    path = tmp_path / "model.safetensors"
    for values, message in (
        ({"name": "parsing"}, "weights of 'parsing'"),
        ({"face_model_sha256": "0" * 64}, "face model 000000000000"),
        ({"settings": {"network": {"backbone": "huge"}}}, "do not fit this version"),
        ({"settings": {}}, "do not fit this version"),
    ):
        save_weights(path, network.state_dict(), card(face_model, **values))
        with pytest.raises(InputError, match=message):
            load_system(path, face_model)
