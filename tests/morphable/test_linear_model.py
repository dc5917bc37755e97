import numpy as np
import pytest
import torch

from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.storage import load_face_model
from facerecon.morphable.topology import REGIONS


def coefficients(model: LinearFaceModel, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, size, generator=random) for size in model.dimensions.values())


def test_dimensions_and_neutral(face_model: LinearFaceModel) -> None:
    assert face_model.dimensions == {"identity": 80, "expression": 64, "albedo": 80}
    neutral = face_model.decode(torch.zeros(1, 80), torch.zeros(1, 64))
    np.testing.assert_allclose(neutral[0], face_model.mean, atol=1e-5)


def test_batched_equals_single(face_model: LinearFaceModel) -> None:
    identity, expression, albedo = coefficients(face_model, 3)
    together, colours = face_model.decode(identity, expression), face_model.decode_albedo(albedo)
    for k in range(3):
        one = slice(k, k + 1)
        np.testing.assert_allclose(face_model.decode(identity[one], expression[one])[0], together[k], atol=1e-4)
        np.testing.assert_allclose(face_model.decode_albedo(albedo[one])[0], colours[k], atol=1e-5)


def test_decoding_is_differentiable_and_linear(training_model: LinearFaceModel) -> None:
    identity, expression, _ = (c.requires_grad_() for c in coefficients(training_model, 1))
    vertices = training_model.decode(identity, expression)
    gradient = torch.autograd.grad(vertices[0, 5, 1], identity)[0]
    np.testing.assert_allclose(gradient[0], training_model.identity_basis[:, 5, 1], atol=1e-6)
    halved = training_model.decode(identity / 2, expression / 2)
    np.testing.assert_allclose((halved * 2 - vertices)[0].detach(), training_model.mean, atol=1e-3)


def test_mesh_is_sound(face_model: LinearFaceModel) -> None:
    topology, mean = face_model.topology, face_model.mean.numpy()
    assert topology.triangles.dtype == np.int32 and topology.uv.dtype == np.float32
    assert np.array_equal(np.unique(topology.triangles), np.arange(len(mean)))
    sides = np.concatenate([topology.triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    assert len(np.unique(sides, axis=0)) == len(sides)  # consistent orientation: each directed side once
    corners = mean[topology.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    nose = corners[..., 2].min(1) > 20
    assert nose.any() and (normals[nose, 2] > 0).mean() > 0.8  # counter-clockwise from outside


def test_mirror_map_is_an_involution_and_the_mean_is_symmetric(face_model: LinearFaceModel) -> None:
    mirror, mean = face_model.topology.mirror, face_model.mean.numpy()
    assert mirror.dtype == np.int64
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mean)))
    np.testing.assert_allclose(mean[mirror] * [-1, 1, 1], mean, atol=1e-4)
    albedo = face_model.albedo_mean.numpy()
    np.testing.assert_allclose(albedo[mirror], albedo, atol=1e-5)
    triangles = {tuple(sorted(triangle)) for triangle in face_model.topology.triangles.tolist()}
    assert {tuple(sorted(triangle)) for triangle in mirror[face_model.topology.triangles].tolist()} == triangles


def test_mirrored_coefficients_decode_to_the_mirror_image(face_model: LinearFaceModel) -> None:
    identity, expression, albedo = coefficients(face_model, 2)
    mirror = torch.from_numpy(face_model.topology.mirror)
    image = face_model.decode(identity, expression)[:, mirror] * torch.tensor([-1.0, 1, 1])
    decoded = face_model.decode(identity * face_model.identity_signs, expression * face_model.expression_signs)
    np.testing.assert_allclose(decoded, image, atol=0.02)
    colours = face_model.decode_albedo(albedo * face_model.albedo_signs)
    np.testing.assert_allclose(colours, face_model.decode_albedo(albedo)[:, mirror], atol=1e-3)


def test_level_1_leads_level_2(training_model: LinearFaceModel) -> None:
    fine = load_face_model(level=2)
    count = len(training_model.mean)
    np.testing.assert_array_equal(fine.topology.uv[:count], training_model.topology.uv)
    np.testing.assert_array_equal(fine.topology.mirror[:count], training_model.topology.mirror)
    for name in REGIONS:
        np.testing.assert_array_equal(fine.topology.regions[name][:count], training_model.topology.regions[name])
    np.testing.assert_array_equal(fine.albedo_mean[:count], training_model.albedo_mean)
    assert (fine.mean[:count] - training_model.mean).norm(dim=1).max() < 1.0  # smoothing moves shared vertices little


def test_regions_part_the_vertices(face_model: LinearFaceModel) -> None:
    regions = face_model.topology.regions
    assert set(regions) == set(REGIONS)
    assert (np.sum([regions[name] for name in REGIONS], axis=0) == 1).all()
    mean, mirror = face_model.mean.numpy(), face_model.topology.mirror
    for name, mask in regions.items():
        assert mask.any() and (mask != mask[mirror]).mean() < 0.003, name  # the source's masks are not quite symmetric
    heights = {name: mean[mask, 1].mean() for name, mask in regions.items()}
    assert heights["forehead"] > heights["brows"] > heights["eyes"] > heights["nose"] > heights["lips"]


def test_landmarks_are_symmetric_about_the_origin(face_model: LinearFaceModel) -> None:
    landmarks = face_model.landmarks(face_model.mean[None])[0].numpy()
    assert landmarks.shape == (68, 3)
    np.testing.assert_allclose(landmarks.mean(0), 0, atol=0.1 if face_model.level == 0 else 0.03)
    np.testing.assert_allclose(landmarks[:17] * [-1, 1, 1], landmarks[16::-1], atol=1e-3)
    np.testing.assert_allclose(landmarks[36:40] * [-1, 1, 1], landmarks[[45, 44, 43, 42]], atol=1e-3)
    assert landmarks[0, 0] < -60 < 60 < landmarks[16, 0]  # the jaw starts at the subject's right
    assert landmarks[30, 2] == landmarks[:, 2].max()  # the tip of the nose is foremost
    assert (
        landmarks[19, 1] > landmarks[37, 1] > landmarks[30, 1] > landmarks[51, 1] > landmarks[57, 1] > landmarks[8, 1]
    )


def test_landmarks_have_the_published_proportions(face_model: LinearFaceModel) -> None:
    """Distances on the mean face are those of the published mean landmarks, up to a common scale."""
    from facerecon.morphable.landmark_convention import published_mean_landmarks

    ours, published = face_model.landmarks(face_model.mean[None])[0].numpy(), published_mean_landmarks()
    pairs = [(0, 16), (4, 12), (17, 26), (36, 45), (48, 54), (27, 8), (21, 22)]
    ratio = [np.linalg.norm(ours[a] - ours[b]) / np.linalg.norm(published[a] - published[b]) for a, b in pairs]
    assert np.max(ratio) / np.min(ratio) < 1.15


def test_landmark_operator_agrees_with_the_fine_surface(face_model: LinearFaceModel) -> None:
    identity, expression, _ = coefficients(face_model, 1)
    surface = face_model.landmarks(face_model.decode(identity, expression))[0].numpy()
    coarse = (
        face_model.coarse_mean
        + np.tensordot(identity[0].numpy(), face_model.coarse_identity, 1)
        + np.tensordot(expression[0].numpy(), face_model.coarse_expression, 1)
    )
    tolerance = {0: 2.0, 1: 0.9, 2: 1e-3}[face_model.level]  # coarser levels are not smoothed to the end
    np.testing.assert_allclose(face_model.landmark_operator @ coarse, surface, atol=tolerance)


def test_projection_inverts_decoding(training_model: LinearFaceModel) -> None:
    rng = np.random.default_rng(0)
    identity, expression = rng.normal(size=(4, 80)), rng.normal(size=(4, 64))
    faces = training_model.coarse_mean + np.tensordot(identity, training_model.coarse_identity, 1)
    np.testing.assert_allclose(training_model.project_identity(faces), identity, atol=1e-3)
    offsets = np.tensordot(expression, training_model.coarse_expression, 1)
    np.testing.assert_allclose(training_model.project_expression(offsets), expression, atol=1e-3)
    assert training_model.project_identity(faces[0]).shape == (80,)


def test_mean_face_has_human_size(training_model: LinearFaceModel) -> None:
    landmarks = training_model.landmarks(training_model.mean[None])[0].numpy()
    assert 80 < np.linalg.norm(landmarks[36] - landmarks[45]) < 100  # outer eye corners, mm
    assert 130 < np.linalg.norm(landmarks[0] - landmarks[16]) < 160
    assert 110 < np.linalg.norm(landmarks[27] - landmarks[8]) < 135


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
    ],
)
def test_model_moves_between_devices(device: str) -> None:
    model = load_face_model().to(device)
    vertices = model.decode(torch.zeros(1, 80, device=device), torch.zeros(1, 64, device=device))
    assert model.landmarks(vertices).device.type == device
    assert not model.state_dict()  # weights files must not carry the face model
