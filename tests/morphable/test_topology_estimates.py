import numpy as np
import pytest
import trimesh
from matplotlib.path import Path as Polygon
from toy_faces import remeshed, toy_head

from facerecon.errors import InputError
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.topology_estimates import EstimatedUv, estimate_uv, mirror_map
from facerecon.morphable.uv_layout import signed_areas


def test_mirror_map_of_a_symmetric_model_is_its_published_one(training_model: LinearFaceModel) -> None:
    """Also when the face stands half a millimetre and a degree off the plane x = 0."""
    turn = np.array([[np.cos(0.02), 0, np.sin(0.02)], [0, 1, 0], [-np.sin(0.02), 0, np.cos(0.02)]])
    mean = training_model.mean.numpy() @ turn.T + [0.5, 0, 0]
    found = mirror_map(mean, training_model.topology.triangles)
    np.testing.assert_array_equal(found.vertex, training_model.topology.mirror)
    assert found.residual.max() < 1e-4


def test_mirror_map_of_an_asymmetric_mesh_has_the_grain_of_the_mesh(training_model: LinearFaceModel) -> None:
    vertices, triangles = remeshed(training_model.mean.numpy().astype(float), training_model.topology.triangles)
    found = mirror_map(vertices, triangles)
    edge = np.linalg.norm(vertices[triangles[:, 0]] - vertices[triangles[:, 1]], axis=1).mean()
    assert 0.01 * edge < found.residual.mean() < 0.6 * edge
    np.testing.assert_allclose(
        np.linalg.norm(found.plane.apply(vertices) - vertices[found.vertex], axis=1), found.residual, atol=1e-12
    )


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return toy_head()


@pytest.fixture(scope="module")
def head_uv(head: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]) -> EstimatedUv:
    return estimate_uv(head[0], head[1])


def test_chart_of_an_open_head_has_no_flips(head: tuple, head_uv: EstimatedUv) -> None:
    _, triangles, parts = head
    assert signed_areas(head_uv.uv, triangles[head_uv.triangles_charted]).min() > 0
    assert head_uv.uv.min() >= 0 and head_uv.uv.max() <= 1
    assert head_uv.charted[parts["skin"]].all()
    np.testing.assert_array_equal(head_uv.charted[triangles].all(1), head_uv.triangles_charted)


def test_chart_of_an_open_head_has_no_overlaps(head: tuple, head_uv: EstimatedUv) -> None:
    chart = head_uv.uv[head[1][head_uv.triangles_charted]]
    eyes = head_uv.uv[head[2]["eyeballs"]]
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.random((100, 2)), eyes.min(0) + rng.random((100, 2)) * np.ptp(eyes, axis=0)])
    low, high = chart.min(1), chart.max(1)
    covering = np.array([inside(point, chart[((low < point) & (point < high)).all(1)]) for point in points])
    assert covering.max() == 1 and covering.sum() > 120


def inside(point: np.ndarray, triangles: np.ndarray) -> int:
    """Number of counter-clockwise triangles (F, 3, 2) that hold the point inside."""
    along, to_point = np.roll(triangles, -1, axis=1) - triangles, point - triangles
    return int((along[..., 0] * to_point[..., 1] > along[..., 1] * to_point[..., 0]).all(1).sum())


def test_front_of_the_eyeballs_lies_in_their_holes(head: tuple, head_uv: EstimatedUv) -> None:
    vertices, _, parts = head
    for side in (1, -1):
        ball = parts["eyeballs"][vertices[parts["eyeballs"], 0] * side > 0]
        charted = ball[head_uv.charted[ball]]
        middle = vertices[ball].mean(0)
        forward = (vertices[ball, 2] - middle[2]) / 13
        assert head_uv.charted[ball][forward > 0.2].all() and not head_uv.charted[ball][forward < 0].any()
        rim = np.linalg.norm(vertices[:, :2] - middle[:2], axis=1)
        rim = np.flatnonzero((rim < 14) & (vertices[:, 2] > 40) & np.isin(np.arange(len(vertices)), parts["skin"]))
        order = np.argsort(np.arctan2(*(vertices[rim, :2] - middle[:2]).T))
        assert Polygon(head_uv.uv[rim[order]]).contains_points(head_uv.uv[charted]).all()
    assert not head_uv.charted[parts["teeth"]].any()


def test_chart_of_an_open_head_is_upright(head: tuple, head_uv: EstimatedUv) -> None:
    def place(x: float, y: float) -> np.ndarray:
        at = np.linalg.norm(head[0][:, :2] - [x, y], axis=1) - head[0][:, 2] / 1000
        return head_uv.uv[at[head[2]["skin"]].argmin()]

    assert place(45, 20)[0] > place(-45, 20)[0] + 0.05  # the subject's left is on the right
    assert place(0, 60)[1] > place(0, -10)[1] + 0.05 > place(0, -70)[1] + 0.1


def test_closed_head_is_cropped_to_its_front() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    vertices, triangles = np.array(ball.vertices) * 100, np.array(ball.faces)
    found = estimate_uv(vertices, triangles)
    assert 0.4 < found.triangles_charted.mean() < 0.6
    assert vertices[triangles[found.triangles_charted], 2].mean(1).min() > -1
    assert signed_areas(found.uv, triangles[found.triangles_charted]).min() > 0


def test_fins_and_touching_borders_are_cut_off(training_model: LinearFaceModel) -> None:
    mean, triangles = training_model.mean.numpy().astype(float), training_model.topology.triangles
    inner = triangles[len(triangles) // 3]
    fin = np.array([[inner[0], inner[1], len(mean)]])
    found = estimate_uv(np.concatenate([mean, mean[inner[:1]] + [0, 0, 9]]), np.concatenate([triangles, fin]))
    assert not found.triangles_charted[-1] and not found.charted[-1]
    assert found.triangles_charted.mean() > 0.98


def test_handles_are_refused() -> None:
    ring = trimesh.creation.torus(50, 15)
    triangles = np.array(ring.faces)[1:]
    with pytest.raises(InputError, match="1 handle"):
        estimate_uv(np.array(ring.vertices), triangles)
