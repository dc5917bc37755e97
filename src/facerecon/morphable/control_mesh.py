"""The open face model at level 0: its coarse control mesh as triangles."""

import numpy as np
from numpy.typing import NDArray

from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.subdivision import triangulate
from facerecon.morphable.topology import MIRRORED_LANDMARKS, Topology


def control_topology(
    mean: NDArray, quads: NDArray, mirror: NDArray, finer: Topology, landmarks: NDArray[np.float64]
) -> Topology:
    """Topology of the control mesh: mean (Vc, 3) mm, quads (Q, 4), mirror (Vc,), all of the coarse model.

    finer: topology of a level whose vertices the coarse ones lead, which keep their texture coordinates and regions.
    landmarks: (68, 3) mm, symmetric, on the finest mean face; they go to the nearest points of the control mesh's skin,
    up to a millimetre behind the surface or before it.
    """
    count = len(mean)
    mean = np.asarray(mean, dtype=np.float64)
    triangles = triangulate(quads, mean, mirror)
    index, barycentric = _nearest(landmarks, mean, triangles, mirror)
    return Topology(
        triangles=triangles.astype(np.int32),
        uv=finer.uv[:count],
        mirror=mirror,
        landmark_triangles=index,
        landmark_barycentric=barycentric.astype(np.float32),
        regions={name: mask[:count] for name, mask in finer.regions.items()},
    )


def _nearest(
    points: NDArray, mean: NDArray, triangles: NDArray, mirror: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Triangle and barycentrics of the surface points nearest to `points` (68, 3); the left half mirrors the right."""
    _, closest, index = Surface(mean, triangles).closest(points)
    corners = mean[triangles[index]]
    edges = (corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1)
    second_third = np.einsum("nij,nj->ni", np.linalg.pinv(edges), closest - corners[:, 0])
    weights = np.concatenate([1 - second_third.sum(1, keepdims=True), second_third], axis=1).clip(0, 1)
    triangle_of = {tuple(sorted(triangle)): k for k, triangle in enumerate(triangles.tolist())}
    for k, other in enumerate(MIRRORED_LANDMARKS):
        if other == k:  # rounding must not move it off the mirror plane
            weights[k] *= mirror[triangles[index[k]]] == triangles[index[k]]
        elif points[k, 0] > 0:
            image = mirror[triangles[index[other]]].tolist()
            index[k] = triangle_of[tuple(sorted(image))]
            weights[k] = weights[other][[image.index(vertex) for vertex in triangles[index[k]].tolist()]]
    return index, weights / weights.sum(1, keepdims=True)
