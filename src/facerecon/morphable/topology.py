"""What a face model's mesh is, besides the places of its vertices."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

REGIONS = ("skin", "brows", "eyes", "nose", "lips", "ears", "forehead")
NOW_LANDMARKS = (36, 39, 42, 45, 33, 48, 54)
# Index of each iBUG landmark's mirror image: what flipping a face left to right does to the points' names.
MIRRORED_LANDMARKS = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


@dataclass(frozen=True)
class MovingContour:
    """Jaw landmarks (iBUG 0-16) that slide along the surface as the head turns, N places of each.

    yaw_degrees: (N,), rising; positive turns the nose to the subject's left. triangles: (N, 17) int64.
    barycentric: (N, 17, 3), rows summing to 1.
    """

    yaw_degrees: NDArray[np.float64]
    triangles: NDArray[np.int64]
    barycentric: NDArray[np.float32]


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
    contour: jaw landmarks that move with yaw, as the model's publisher has them, or None.
    seam_copies: (C,) int64. The last C vertices are copies of these, which always move with them: a vertex on a seam of
        the texture chart is there once for each of its places in it.
    """

    triangles: np.ndarray
    uv: np.ndarray
    mirror: np.ndarray
    landmark_triangles: np.ndarray
    landmark_barycentric: np.ndarray
    regions: dict[str, np.ndarray]
    landmark7_indices: tuple[int, ...] = field(default=NOW_LANDMARKS)
    contour: MovingContour | None = None
    seam_copies: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def landmark_vertices(self) -> np.ndarray:
        """Vertex ids (68, 3) of the triangles that hold the landmarks."""
        return self.triangles[self.landmark_triangles]

    @property
    def welded_triangles(self) -> NDArray[np.int64]:
        """The triangles (F, 3) with copied vertices replaced by what they copy: the surface without seams."""
        return weld_copies(self.triangles, len(self.uv), self.seam_copies)


def weld_copies(triangles: NDArray[np.int64], vertices: int, seam_copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles (F, 3) with the last len(seam_copies) of so many vertices replaced by those that they copy."""
    welded = np.arange(vertices)
    if len(seam_copies):
        welded[-len(seam_copies) :] = seam_copies
    return welded[triangles]
