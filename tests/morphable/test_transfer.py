import igl
import numpy as np
import pytest
from toy_faces import remeshed

from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.transfer import (
    Mesh,
    SurfaceMap,
    map_to_mesh,
    map_vertices,
    seam_triangles,
    transfer_chart,
    transfer_labels,
    transfer_landmarks,
    transfer_regions,
    transfer_uv,
)
from facerecon.morphable.uv_layout import signed_areas


@pytest.fixture(scope="module")
def model_mesh(training_model: LinearFaceModel) -> Mesh:
    return Mesh(training_model.mean.numpy().astype(float), training_model.topology.triangles.astype(np.int64))


@pytest.fixture(scope="module")
def other_mesh(model_mesh: Mesh) -> Mesh:
    """The mean face in another triangulation, three times as dense, with no vertex of the interior in common."""
    return Mesh(*remeshed(*model_mesh))


@pytest.fixture(scope="module")
def irregular_mesh(other_mesh: Mesh) -> Mesh:
    """The mean face decimated from there to an irregular mesh of 40,000 triangles."""
    vertices, triangles, _, _ = igl.decimate(other_mesh.vertices, other_mesh.triangles, 40_000, False)
    return Mesh(vertices, triangles)


@pytest.fixture(scope="module", params=["remeshed", "decimated"])
def there_and_back(
    request: pytest.FixtureRequest, model_mesh: Mesh, other_mesh: Mesh, irregular_mesh: Mesh
) -> tuple[Mesh, SurfaceMap, SurfaceMap]:
    other = other_mesh if request.param == "remeshed" else irregular_mesh
    return other, map_vertices(other, model_mesh), map_vertices(model_mesh, other)


def test_landmarks_there_and_back(
    training_model: LinearFaceModel, model_mesh: Mesh, there_and_back: tuple[Mesh, SurfaceMap, SurfaceMap]
) -> None:
    topology, other = training_model.topology, there_and_back[0]
    weights = topology.landmark_barycentric[..., None]
    start = (model_mesh.vertices[topology.landmark_vertices] * weights).sum(1)
    there = transfer_landmarks(model_mesh, topology.landmark_triangles, topology.landmark_barycentric, other)
    back = transfer_landmarks(other, there.triangles, there.barycentric, model_mesh)
    assert there.valid.all() and back.valid.all()
    assert np.linalg.norm(there.interpolate(other.vertices) - start, axis=1).max() < 0.3
    assert np.linalg.norm(back.interpolate(model_mesh.vertices) - start, axis=1).max() < 0.3


def test_regions_there_and_back(
    training_model: LinearFaceModel, there_and_back: tuple[Mesh, SurfaceMap, SurfaceMap]
) -> None:
    _, there, back = there_and_back
    regions = training_model.topology.regions
    returned = transfer_regions(back, transfer_regions(there, regions))
    same = np.stack([returned[name] == regions[name] for name in regions]).all(0)
    assert same.mean() >= 0.99


def test_uv_there_and_back(
    training_model: LinearFaceModel, model_mesh: Mesh, there_and_back: tuple[Mesh, SurfaceMap, SurfaceMap]
) -> None:
    other, there, back = there_and_back
    uv = training_model.topology.uv.astype(float)
    carried = transfer_uv(there, uv)
    assert np.linalg.norm(transfer_uv(back, carried) - uv, axis=1).max() < 0.005
    assert not seam_triangles(other, carried).any()


def test_nearly_everything_has_a_counterpart(there_and_back: tuple[Mesh, SurfaceMap, SurfaceMap]) -> None:
    _, there, back = there_and_back
    assert there.valid.mean() > 0.99 and back.valid.mean() > 0.99


def sheet(height: float, upwards: bool, size: int = 11) -> Mesh:
    """Horizontal square of 100 mm at a height."""
    x, y = (grid.ravel() for grid in np.meshgrid(*[np.linspace(0, 100, size)] * 2))
    a = (np.arange(size - 1)[:, None] * size + np.arange(size - 1)).ravel()
    triangles = np.stack([a, a + 1, a + size + 1, a, a + size + 1, a + size], axis=1).reshape(-1, 3)
    return Mesh(np.stack([x, y, np.full_like(x, height)], 1), triangles if upwards else triangles[:, ::-1])


def test_the_side_with_the_same_normal_is_taken_though_the_other_is_nearer() -> None:
    upper, lower = sheet(1.0, True), sheet(0.0, False)
    both = Mesh(
        np.concatenate([upper.vertices, lower.vertices]), np.concatenate([upper.triangles, lower.triangles + 121])
    )
    points = np.array([[33.0, 41, 0.1], [57, 24, 0.1]])
    found = map_to_mesh(points, np.array([[0.0, 0, 1]] * 2), both)
    np.testing.assert_allclose(found.interpolate(both.vertices), points * [1, 1, 0] + [0, 0, 1], atol=1e-9)
    assert found.valid.all() and found.distances == pytest.approx(0.9)


def test_what_has_no_counterpart_is_not_valid() -> None:
    points = np.array([[50.0, 50, 0], [50, 50, 7], [104, 50, 0], [50, 50, 1]])
    normals = np.array([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, -1]])
    found = map_to_mesh(points, normals, sheet(0.0, True))
    assert found.valid.tolist() == [True, False, False, False]  # on it, too far, beside it, facing away
    assert transfer_labels(found, np.full(121, 3)).tolist() == [3, -1, -1, -1]


def test_label_of_the_greatest_weight_wins() -> None:
    one = np.array([0])
    found = SurfaceMap(one, np.array([[0, 1, 2]]), np.array([[0.4, 0.3, 0.3]]), np.zeros(1), np.array([True]))
    assert transfer_labels(found, np.array([5, 8, 8])).tolist() == [8]
    assert transfer_labels(found, np.array([5, 8, 9])).tolist() == [5]


def test_uv_of_a_seam_stays_on_one_side_of_it() -> None:
    """Two halves of a sheet in two corners of the texture: vertices get no mean of both, triangles across are told."""
    source = sheet(0.0, True, 11)
    left = (source.vertices[source.triangles, 0].mean(1) < 50)[:, None]
    plane = source.vertices[:, :2] / 1000
    uv = np.concatenate([plane, plane + 0.8])
    target = sheet(0.0, True, 14)
    found = map_vertices(target, source)
    carried = transfer_uv(found, uv, np.where(left, source.triangles, source.triangles + 121))
    straight = target.vertices[:, :2] / 1000
    right = target.vertices[:, 0] > 50
    np.testing.assert_allclose(carried, straight + 0.8 * right[:, None], atol=1e-9)
    across = right[target.triangles].any(1) & ~right[target.triangles].all(1)
    np.testing.assert_array_equal(seam_triangles(target, carried), across)


def test_a_carried_chart_leaves_out_what_it_does_not_show() -> None:
    """A target larger than the source, over a chart that folds back on one side; and a chart with a seam."""
    source, target = sheet(0.0, True), sheet(0.0, True, 21)
    target = Mesh(target.vertices * [1.5, 1, 1], target.triangles)  # x to 150, beside the source from 100 on
    x, y = source.vertices[:, :2].T / 100
    folded_back = np.stack([np.where(x > 0.8, 1.6 - x, x), y], 1)
    found = map_vertices(target, source)
    chart = transfer_chart(found, target, folded_back)
    middle = target.vertices[target.triangles].mean(1)[:, 0]
    assert chart.triangles_charted[middle < 75].all()
    assert chart.triangles_folded[(middle > 83) & (middle < 97)].all()
    assert not chart.triangles_folded[middle > 103].any() and not chart.triangles_charted[middle > 83].any()
    assert (signed_areas(chart.uv, target.triangles[chart.triangles_charted]) > 0).all()
    known = np.unique(target.triangles[chart.triangles_charted])
    beyond = target.vertices[:, 0] > 110
    edge = chart.uv[known[target.vertices[known, 0].argmax()], 0]
    np.testing.assert_allclose(chart.uv[beyond, 0], edge, atol=1e-9)  # where the nearest charted vertex lies

    halves = np.where(x[:, None] > 0.5, [0.6, 0.0], 0.0) + 0.3 * np.stack([x, y], 1)
    chart = transfer_chart(map_vertices(source, source), source, halves)
    right = source.vertices[source.triangles, 0] > 50
    across = right.any(1) & ~right.all(1)
    np.testing.assert_array_equal(chart.triangles_charted, ~across)


def test_overlapping_regions_are_refused() -> None:
    found = map_vertices(sheet(0.0, True), sheet(0.0, True))
    everywhere = np.ones(121, bool)
    with pytest.raises(ValueError, match="overlap"):
        transfer_regions(found, {"lips": everywhere, "skin": everywhere})
