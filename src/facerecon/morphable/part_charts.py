"""UV charts of the head's parts beside the face: one atlas, a cell a patch, no flips, the quads' own seams."""

import numpy as np
import scipy.sparse as sparse

from facerecon.morphable.subdivision import boundary_loops
from facerecon.morphable.uv_layout import mean_value_weights, solve_tutte, vertex_stretch

# Cells of the atlas in eighths of its side: left, bottom, size. Every patch fills a disc in its cell.
CELLS = {
    "head": (0, 3, 5),
    "mouth_cavity": (0, 0, 3),
    "tongue/top": (3, 1, 2),
    "tongue/bottom": (3, 0, 1),
    "teeth_upper": (5, 0, 2),
    "teeth_lower": (7, 0, 1),
    "eye_left/front": (5, 6, 2),
    "eye_left/back": (7, 7, 1),
    "eye_right/front": (5, 4, 2),
    "eye_right/back": (7, 5, 1),
    "eye_sockets/left": (7, 6, 1),
    "eye_sockets/right": (7, 4, 1),
    "eyelashes": (5, 3, 1),
}
CELL_FILL = 0.94  # of a cell's side, so that neighbours do not bleed into one another
EQUALISING_STEPS = 2
STRETCH_RANGE = (0.1, 10.0)


def chart_patch(vertices: np.ndarray, quads: np.ndarray, name: str) -> np.ndarray:
    """Texture coordinates (Q, 4, 2), u right and v up, of the corners of one patch's quads, inside its atlas cell.

    vertices: (V, 3) mm; quads: (Q, 4) into them, one connected patch with at least one boundary. The longest boundary
    goes onto a circle by arc length; inner vertices are weighted means of their neighbours along the quads' edges, and
    other boundaries are closed by a cone. Every quad then comes out convex (Tutte 1963), so that it may be subdivided
    bilinearly; the weights are the mean-value ones, evened out as in `uv_layout.chart_skin`.
    """
    used, local = np.unique(quads, return_inverse=True)
    local = local.reshape(-1, 4)
    points = vertices[used].astype(np.float64)
    outline, *holes = boundary_loops(local)
    start = np.lexsort((np.abs(points[outline, 0]).round(3), -points[outline, 1].round(3)))[0]
    outline = np.roll(outline, -start)
    step = np.linalg.norm(np.roll(points[outline], -1, axis=0) - points[outline], axis=1)
    angle = 2 * np.pi * np.concatenate([[0], np.cumsum(step)[:-1]]) / step.sum() + np.pi / 2
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    triangles = [local[:, [0, 1, 2]], local[:, [0, 2, 3]], local[:, [0, 1, 3]], local[:, [1, 2, 3]]]
    count = len(points)
    for k, hole in enumerate(holes):
        triangles.append(np.stack([np.roll(hole, -1), hole, np.full(len(hole), count + k)], axis=1))
        points = np.concatenate([points, points[hole].mean(0, keepdims=True)])
    triangles = np.concatenate(triangles)
    weights = mean_value_weights(points, triangles).multiply(_edges(local, holes, count)).tocsr()
    chart = solve_tutte(weights, outline, rim)
    for _ in range(EQUALISING_STEPS):
        stretch = vertex_stretch(chart, points, triangles)
        stretch = np.clip(stretch / np.median(stretch), *STRETCH_RANGE)
        weights = weights @ sparse.diags(stretch**-0.5)
        chart = solve_tutte(weights, outline, rim)
    left, bottom, size = CELLS[name]
    placed = (np.array([left, bottom]) + size * (0.5 + 0.5 * CELL_FILL * chart[:count])) / 8
    return placed[local]


def subdivide_corners(corners: np.ndarray) -> np.ndarray:
    """Values (4 Q, 4, ...) at the corners of the quads that `catmull_clark` makes of quads with `corners` (Q, 4, ...).

    Bilinear: a corner keeps its value, edges and faces take the mean of theirs.
    """
    middle = corners.mean(1)
    after = (corners + np.roll(corners, -1, axis=1)) / 2
    quarters = [np.stack([corners[:, k], after[:, k], middle, after[:, k - 1]], axis=1) for k in range(4)]
    return np.stack(quarters, axis=1).reshape(-1, *corners.shape[1:])


def _edges(quads: np.ndarray, holes: list[np.ndarray], count: int) -> sparse.csr_matrix:
    """1 between vertices that share an edge of a quad or of a hole's cone, symmetric."""
    pairs = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    spokes = [np.stack([hole, np.full(len(hole), count + k)], axis=1) for k, hole in enumerate(holes)]
    pairs = np.unique(np.sort(np.concatenate([pairs, *spokes]), axis=1), axis=0)
    size = count + len(holes)
    matrix = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return (matrix + matrix.T).tocsr()
