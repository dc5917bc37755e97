from dataclasses import replace

import numpy as np
import pytest
import torch

from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.contour import ContourRows, contour_landmarks, contour_rows, moving_contour
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.mesh_regions import loss_regions
from facerecon.morphable.storage import load_open_model
from facerecon.morphable.topology import MovingContour
from facerecon.render.rasterize import rasterize

SIZE, SCALE = 448, 2.0  # pixels, pixels a mm: finer than the standard crop, whose face is about 1 pixel a mm


@pytest.fixture(scope="module")
def model() -> LinearFaceModel:
    return load_open_model(level=2)


@pytest.fixture(scope="module")
def rows(model: LinearFaceModel) -> ContourRows:
    return contour_rows(model)


def turn(yaw_degrees: float) -> torch.Tensor:
    return torch.tensor([[0.0, np.radians(yaw_degrees), 0.0]], dtype=torch.float32)


@pytest.fixture(scope="module")
def faces(model: LinearFaceModel) -> torch.Tensor:
    identity = torch.randn(4, 80, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [[0.0], [1.0], [1.0], [1.0]]
    )
    return model.decode(identity, torch.zeros(4, 64))


def test_seen_from_the_front_it_is_the_fixed_jaw(
    model: LinearFaceModel, rows: ContourRows, faces: torch.Tensor
) -> None:
    np.testing.assert_array_equal(contour_landmarks(model, faces, turn(0).expand(4, 3), rows), model.landmarks(faces))
    for yaw in (-1.0, 1.0):
        moved = contour_landmarks(model, faces[:1], turn(yaw), rows) - model.landmarks(faces[:1])
        assert moved.norm(dim=-1).max() < 2  # mm


@pytest.mark.parametrize("yaw", [60.0, -60.0, 35.0])
def test_far_points_lie_on_the_silhouette(
    model: LinearFaceModel, rows: ContourRows, faces: torch.Tensor, yaw: float
) -> None:
    """Against the rendered outline, row by row, of the skin that the rows may run over: without nose, lips and eyes."""
    far = range(9, 17) if yaw > 0 else range(0, 8)
    regions = loss_regions(model.topology)
    barred = regions["nose"] | regions["mouth"] | regions["eye"]
    triangles = model.topology.triangles[~barred[model.topology.triangles].any(1)]
    rotation = euler_to_matrix(turn(yaw))[0]
    points = contour_landmarks(model, faces, turn(yaw).expand(len(faces), 3), rows)
    for face, landmarks in zip(faces, points, strict=True):
        seen = face @ rotation.T
        pixels = torch.stack([SIZE / 2 + SCALE * seen[:, 0], SIZE / 2 - SCALE * seen[:, 1], 500 - seen[:, 2]], 1)
        index, _ = rasterize(pixels[None], triangles, SIZE, SIZE, cull=False)
        covered = (index[0] >= 0).numpy()
        for k in far:
            place = landmarks[k] @ rotation.T
            column, row = SIZE / 2 + SCALE * float(place[0]), int(SIZE / 2 - SCALE * float(place[1]))
            outline = np.flatnonzero(covered[row])
            edge = outline.max() + 1 if yaw > 0 else outline.min()
            # The rows are level on the mean face only, and go no further than a millimetre from the outermost point.
            assert abs(edge - column) < 2 * SCALE, (k, edge, column)


def test_near_side_and_inner_points_stay(model: LinearFaceModel, rows: ContourRows, faces: torch.Tensor) -> None:
    fixed, turned = model.landmarks(faces), contour_landmarks(model, faces, turn(50).expand(4, 3), rows)
    np.testing.assert_array_equal(turned[:, :9], fixed[:, :9])
    np.testing.assert_array_equal(turned[:, 17:], fixed[:, 17:])
    assert ((turned - fixed)[:, 10:17].norm(dim=-1) > 1).all()


def test_both_sides_mirror(model: LinearFaceModel, rows: ContourRows) -> None:
    mean = model.mean[None]
    left, right = (contour_landmarks(model, mean, turn(yaw), rows)[0, :17].numpy() for yaw in (40.0, -40.0))
    np.testing.assert_allclose(left[::-1] * [-1, 1, 1], right, atol=1.0)


def test_table_gives_the_mean_faces_points(model: LinearFaceModel, rows: ContourRows) -> None:
    table = moving_contour(model)
    assert (np.diff(table.yaw_degrees) > 0).all() and table.triangles.shape == (len(table.yaw_degrees), 17)
    np.testing.assert_allclose(table.barycentric.sum(-1), 1, atol=1e-5)
    k = int(np.flatnonzero(table.yaw_degrees == 45)[0])
    corners = model.mean.numpy()[model.topology.triangles[table.triangles[k]]]
    places = (corners * table.barycentric[k][..., None]).sum(1)
    expected = contour_landmarks(model, model.mean[None], turn(45), rows)[0, :17].numpy()
    np.testing.assert_allclose(places, expected, atol=1e-3)


def test_a_published_table_is_used(training_model: LinearFaceModel) -> None:
    table = moving_contour(training_model)
    frontal = np.flatnonzero(table.yaw_degrees == 0)[0]
    order = np.array([frontal, 20, 40])  # of other angles than the rows would give
    published = MovingContour(np.array([-20.0, 10.0, 25.0]), table.triangles[order], table.barycentric[order])
    model = load_open_model(level=1)
    model.topology = replace(model.topology, contour=published)
    vertices = model.mean + torch.arange(4.0)[:, None, None]
    angles = torch.deg2rad(torch.tensor([-80.0, -6.0, -4.0, 70.0]))
    found = contour_landmarks(model, vertices, torch.stack([angles * 0, angles, angles * 0], 1))
    for k, row in enumerate((0, 0, 1, 2)):
        corners = vertices[k].numpy()[model.topology.triangles[published.triangles[row]]]
        expected = (corners * published.barycentric[row][..., None]).sum(1)
        np.testing.assert_allclose(found[k, :17], expected, atol=1e-4)
    np.testing.assert_array_equal(found[:, 17:], model.landmarks(vertices)[:, 17:])


def test_gradients_reach_the_vertices(model: LinearFaceModel, rows: ContourRows, faces: torch.Tensor) -> None:
    vertices = faces[:1].clone().requires_grad_()
    contour_landmarks(model, vertices, turn(50), rows)[:, 9:17].sum().backward()
    assert 8 <= (vertices.grad.abs().sum(-1) > 0).sum() <= 24
