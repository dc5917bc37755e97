"""Eyelashes as thin tapered blades on MakeHuman's lash sheets, so that no transparency is needed to draw them."""

from itertools import pairwise

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components, shortest_path

from facerecon.morphable.subdivision import boundary_loops

LASH_GAP = {"upper": 0.45, "lower": 0.8}  # mm between roots on the mean face
ROOT_HALF_WIDTH = 0.08  # mm
SLANT = 2.0  # mm that the tips at either corner of the eye lean outwards


def lash_sheets(vertices: np.ndarray, quads: np.ndarray, lid_edges: np.ndarray) -> list[np.ndarray]:
    """Vertex ids (rows, columns) of each lash sheet, the row of roots first, column 0 nearest to the nose.

    vertices: (V, 3) mm, symmetric frame; quads: (Q, 4) of all sheets, each a regular grid; lid_edges: ids of the
    vertices along the lids' edges, near which the lashes grow.
    """
    count = len(vertices)
    pairs = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count)).tocsr()
    _, label = connected_components(graph, directed=False)
    sheets = []
    for value in np.unique(label[quads[:, 0]]):
        sheet = quads[label[quads[:, 0]] == value]
        loop = boundary_loops(sheet)[0]
        uses = np.bincount(sheet.ravel(), minlength=count)
        corners = np.flatnonzero(uses[loop] == 1)
        ring = np.roll(loop, -corners[0])
        ends = [*np.flatnonzero(uses[ring] == 1), len(ring)]
        sides = [np.append(ring, ring[0])[a : b + 1] for a, b in pairwise(ends)]
        long_sides = sorted(sides, key=len)[2:]
        short_sides = sorted(sides, key=len)[:2]
        gap = [
            np.linalg.norm(vertices[side][:, None] - vertices[lid_edges][None], axis=-1).min(1).mean()
            for side in long_sides
        ]
        inner = [np.abs(vertices[side, 0]).mean() for side in short_sides]
        used = np.unique(sheet)
        part = graph[used][:, used]
        row = _distance(part, np.searchsorted(used, long_sides[int(np.argmin(gap))]))
        column = _distance(part, np.searchsorted(used, short_sides[int(np.argmin(inner))]))
        grid = np.full((row.max() + 1, column.max() + 1), -1)
        grid[row, column] = used
        if (grid < 0).any():
            raise ValueError("a lash sheet is not a regular grid")
        sheets.append(grid)
    return sheets


def lash_blades(sheet: np.ndarray, vertices: np.ndarray, right: bool) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Blades on one sheet: operator (n, V) from the vertices, and triangles (m, 3).

    sheet: (rows, columns) vertex ids as `lash_sheets` gives them. vertices: (V, 3) mean places, mm, along whose lid
    edge the blades are spaced evenly. right: of the subject's right eye, whose blades are wound the other way, so that
    both sides are mirror images.
    """
    rows, columns = sheet.shape
    steps = np.linalg.norm(np.diff(vertices[sheet[0]], axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    rises = vertices[sheet[-1], 1].mean() > vertices[sheet[0], 1].mean()
    count = round(along[-1] / LASH_GAP["upper" if rises else "lower"])
    roots = (np.arange(count)[:, None] + 0.5) / count * along[-1]
    height = np.arange(rows) / (rows - 1)
    centre = roots + SLANT * height**2 * (2 * roots / along[-1] - 1)
    half = ROOT_HALF_WIDTH * (1 - height)
    place = np.stack([centre - half, centre + half], axis=-1)[:, :-1].reshape(count, -1)
    place = np.interp(np.concatenate([place, centre[:, -1:]], axis=1), along, np.arange(columns))
    level = np.append(np.repeat(np.arange(rows - 1), 2), rows - 1)
    left = np.minimum(place.astype(int), columns - 2)
    share = place - left
    size = place.size
    ids = np.concatenate([sheet[level, left].ravel(), sheet[level, left + 1].ravel()])
    weights = np.concatenate([(1 - share).ravel(), share.ravel()])
    operator = sparse.csr_matrix((weights, (np.tile(np.arange(size), 2), ids)), shape=(size, len(vertices)))
    a = 2 * np.arange(rows - 2)[:, None]
    blade = np.concatenate([a + [[0, 1, 3]], a + [[0, 3, 2]], [[2 * rows - 4, 2 * rows - 3, 2 * rows - 2]]])
    if right:
        blade = blade[:, ::-1]
    return operator, (blade[None] + (2 * rows - 1) * np.arange(count)[:, None, None]).reshape(-1, 3)


def _distance(graph: sparse.csr_matrix, sources: np.ndarray) -> np.ndarray:
    """Fewest edges (n,) from each vertex to the nearest of `sources`."""
    return shortest_path(graph, directed=False, unweighted=True, indices=sources).min(0).astype(int)
