import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.subdivision import boundary_loops
from facerecon.morphable.uv_layout import mean_value_weights, signed_areas


def test_mean_value_weights_of_an_equilateral_triangle() -> None:
    corners = np.array([[0.0, 0, 0], [2, 0, 0], [1, np.sqrt(3), 0]])
    weights = mean_value_weights(corners, np.array([[0, 1, 2]])).toarray()
    expected = np.tan(np.radians(30)) / 2
    np.testing.assert_allclose(weights, expected * (1 - np.eye(3)), atol=1e-12)


def test_chart_has_no_flips(face_model: LinearFaceModel) -> None:
    topology = face_model.topology
    assert signed_areas(topology.uv.astype(float), topology.triangles).min() > 0
    assert topology.uv.min() >= 0 and topology.uv.max() <= 1


def test_chart_has_no_overlaps(face_model: LinearFaceModel) -> None:
    """Random points of the square lie in no or one triangle; so do points around the eyes, where three islands meet."""
    topology = face_model.topology
    chart = topology.uv[topology.triangles].astype(float)
    rng = np.random.default_rng(0)
    eye = topology.uv[topology.regions["eyes"]]
    points = np.concatenate([rng.random((100, 2)), eye.min(0) + rng.random((100, 2)) * np.ptp(eye, axis=0)])
    low, high = chart.min(1), chart.max(1)
    covering = [inside(point, chart[((low < point) & (point < high)).all(1)]) for point in points]
    assert max(covering) == 1 and sum(covering) > 100


def inside(point: np.ndarray, triangles: np.ndarray) -> int:
    """Number of counter-clockwise triangles (F, 3, 2) that hold the point inside."""
    along, to_point = np.roll(triangles, -1, axis=1) - triangles, point - triangles
    return int((along[..., 0] * to_point[..., 1] > along[..., 1] * to_point[..., 0]).all(1).sum())


def test_chart_covers_the_square(training_model: LinearFaceModel) -> None:
    topology = training_model.topology
    assert signed_areas(topology.uv.astype(float), topology.triangles).sum() > 0.82


def test_chart_is_symmetric(face_model: LinearFaceModel) -> None:
    topology = face_model.topology
    np.testing.assert_allclose(topology.uv[topology.mirror], topology.uv * [-1, 1] + [1, 0], atol=1e-6)


def test_chart_is_upright_and_not_mirrored(training_model: LinearFaceModel) -> None:
    topology = training_model.topology
    landmarks = (topology.uv[topology.landmark_vertices] * topology.landmark_barycentric[..., None]).sum(1)
    assert landmarks[36, 0] < landmarks[45, 0]  # the subject's right eye is on the left
    assert landmarks[27, 1] > landmarks[8, 1]  # the nose is above the chin


@pytest.mark.parametrize("side", [1, -1])
def test_eyeballs_lie_inside_their_holes(training_model: LinearFaceModel, side: int) -> None:
    topology, mean = training_model.topology, training_model.mean.numpy()
    count = len(training_model.coarse_mean)
    eyeball = np.flatnonzero(~training_model.coarse.is_skin & (mean[:count, 0] * side > 0))  # coarse ids lead
    eye_centre = topology.uv[eyeball].mean(0)
    loops = boundary_loops(topology.triangles)
    holes = [loop for loop in loops if not np.isin(loop, eyeball).any()]
    hole = min(holes, key=lambda loop: np.linalg.norm(topology.uv[loop].mean(0) - eye_centre))
    assert Polygon(topology.uv[hole]).contains_points(topology.uv[eyeball]).all()
