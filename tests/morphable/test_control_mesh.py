import numpy as np

from facerecon.morphable.control_mesh import control_topology
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.topology import MIRRORED_LANDMARKS
from facerecon.morphable.uv_layout import signed_areas


def test_level_0_is_the_control_mesh_as_triangles(training_model: LinearFaceModel) -> None:
    coarse = training_model.coarse
    landmarks = training_model.landmark_operator @ coarse.mean.astype(np.float64)
    topology = control_topology(coarse.mean, coarse.quads, coarse.mirror, training_model.topology, landmarks)
    assert topology.triangles.shape == (2 * len(coarse.quads), 3)
    assert {tuple(quad) for quad in np.sort(coarse.quads, axis=1).tolist()} == {
        tuple(sorted(set(first) | set(second)))
        for first, second in zip(topology.triangles[::2].tolist(), topology.triangles[1::2].tolist(), strict=True)
    }
    mirrored = {tuple(triangle) for triangle in np.sort(coarse.mirror[topology.triangles], axis=1).tolist()}
    assert mirrored == {tuple(triangle) for triangle in np.sort(topology.triangles, axis=1).tolist()}
    assert (signed_areas(topology.uv.astype(np.float64), topology.triangles) > 0).all()
    np.testing.assert_allclose(topology.uv[topology.mirror], topology.uv * [-1, 1] + [1, 0], atol=1e-5)
    np.testing.assert_array_equal(np.sum(list(topology.regions.values()), axis=0), 1)

    placed = (coarse.mean[topology.landmark_vertices] * topology.landmark_barycentric[..., None]).sum(1)
    assert np.linalg.norm(placed - landmarks, axis=1).max() < 1.0  # mm
    np.testing.assert_allclose(placed[MIRRORED_LANDMARKS] * [-1, 1, 1], placed, atol=1e-4)
    np.testing.assert_allclose(topology.landmark_barycentric.sum(1), 1, atol=1e-6)
