"""What a face model's mesh is, besides the places of its vertices."""

from dataclasses import dataclass, field

import numpy as np

REGIONS = ("skin", "brows", "eyes", "nose", "lips", "ears", "forehead")
NOW_LANDMARKS = (36, 39, 42, 45, 33, 48, 54)
# Index of each iBUG landmark's mirror image: what flipping a face left to right does to the points' names.
MIRRORED_LANDMARKS = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


@dataclass(frozen=True)
class Topology:
    """Mesh of V vertices and F triangles at one level of detail.

    triangles: (F, 3) int32, counter-clockwise seen from outside in the head frame.
    uv: (V, 2) float32 in [0, 1], u right and v up seen from the front.
    mirror: (V,) int64 id of each vertex's mirror image in the plane x = 0 (an involution), or of the vertex nearest to
        it where the mesh is not symmetric.
    landmark_triangles, landmark_barycentric: (68,) int64 and (68, 3) float32, the iBUG landmarks (300W-LP convention).
    regions: name -> (V,) bool; the names of REGIONS. A vertex is in one at most; in the open model, in exactly one.
    landmark7_indices: the seven landmarks of the NoW protocol among the 68.
    """

    triangles: np.ndarray
    uv: np.ndarray
    mirror: np.ndarray
    landmark_triangles: np.ndarray
    landmark_barycentric: np.ndarray
    regions: dict[str, np.ndarray]
    landmark7_indices: tuple[int, ...] = field(default=NOW_LANDMARKS)

    @property
    def landmark_vertices(self) -> np.ndarray:
        """Vertex ids (68, 3) of the triangles that hold the landmarks."""
        return self.triangles[self.landmark_triangles]
