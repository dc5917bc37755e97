"""Catmull-Clark subdivision as sparse matrices, so that a subdivided linear model stays linear, and mirror maps."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse


@dataclass(frozen=True)
class SubdividedMesh:
    """One level of a subdivided, mirror-symmetric quad mesh.

    operator: (V, Vc) sparse, vertices from coarse vertices. quads: (Q, 4). mirror: (V,) id of each vertex's mirror
    image. Ids of a level lead those of the next.
    """

    operator: sparse.csr_matrix
    quads: np.ndarray
    mirror: np.ndarray


def catmull_clark(vertex_count: int, quads: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One Catmull-Clark step of a quad mesh (Catmull & Clark 1978; boundary curves are cubic B-splines).

    vertex_count: V; quads: (Q, 4) ids; vertices in no quad stay where they are.
    Returns the operator (V + E + Q, V), float64, and the new quads (4 Q, 4); new ids are vertices, edges, faces.
    """
    face_count = len(quads)
    edges, edge_of_side, faces_of_edge = _edges(quads)
    edge_count = len(edges)
    corner_face = np.repeat(np.arange(face_count), 4)
    face_points = _matrix(corner_face, quads.ravel(), 0.25, (face_count, vertex_count))
    midpoints = _matrix(np.repeat(np.arange(edge_count), 2), edges.ravel(), 0.5, (edge_count, vertex_count))
    edge_faces = _matrix(edge_of_side.ravel(), corner_face, 1.0, (edge_count, face_count))
    on_boundary = faces_of_edge == 1
    edge_points = (
        sparse.diags(np.where(on_boundary, 1.0, 0.5)) @ midpoints
        + sparse.diags(np.where(on_boundary, 0.0, 0.25)) @ edge_faces @ face_points
    )

    vertex_faces = _matrix(quads.ravel(), corner_face, 1.0, (vertex_count, face_count))
    vertex_edges = _matrix(edges.ravel(), np.repeat(np.arange(edge_count), 2), 1.0, (vertex_count, edge_count))
    boundary_edges = vertex_edges @ sparse.diags(on_boundary.astype(float))
    valence = np.maximum(_row_sums(vertex_faces), 1)
    boundary_valence = _row_sums(boundary_edges)
    used = _row_sums(vertex_faces) > 0
    boundary = boundary_valence > 0
    inner = (
        sparse.diags(1 / valence**2) @ vertex_faces @ face_points
        + sparse.diags(2 / (valence * np.maximum(_row_sums(vertex_edges), 1))) @ vertex_edges @ midpoints
        + sparse.diags((valence - 3) / valence)
    )
    outer = 0.5 * sparse.identity(vertex_count) + sparse.diags(0.5 / np.maximum(boundary_valence, 1)) @ (
        boundary_edges @ midpoints
    )
    moved = sparse.diags((used & ~boundary).astype(float)) @ inner + sparse.diags(boundary.astype(float)) @ outer
    vertex_points = moved + sparse.diags((~used).astype(float))

    operator = sparse.vstack([vertex_points, edge_points, face_points]).tocsr()
    operator.sort_indices()
    operator.eliminate_zeros()
    centre = vertex_count + edge_count + np.arange(face_count)
    side_point = vertex_count + edge_of_side
    corners = [np.stack([quads[:, k], side_point[:, k], centre, side_point[:, k - 1]], axis=1) for k in range(4)]
    return operator, np.stack(corners, axis=1).reshape(-1, 4)


def interpolate_once(vertex_count: int, quads: np.ndarray) -> sparse.csr_matrix:
    """Operator (V + E + Q, V) with the ids of `catmull_clark` that keeps vertices and averages at edges and faces.

    Unlike Catmull-Clark it interpolates, so attributes such as colours keep their values and range.
    """
    face_count = len(quads)
    edges, _, _ = _edges(quads)
    midpoints = _matrix(np.repeat(np.arange(len(edges)), 2), edges.ravel(), 0.5, (len(edges), vertex_count))
    face_points = _matrix(np.repeat(np.arange(face_count), 4), quads.ravel(), 0.25, (face_count, vertex_count))
    return sparse.vstack([sparse.identity(vertex_count), midpoints, face_points]).tocsr()


def subdivide(vertex_count: int, quads: np.ndarray, mirror: np.ndarray, levels: int) -> list[SubdividedMesh]:
    """Coarse mesh and its first `levels` Catmull-Clark levels; item 0 is the coarse mesh itself.

    quads: (Q, 4); mirror: (V,) involution that maps the set of quads onto itself.
    """
    meshes = [SubdividedMesh(sparse.identity(vertex_count, format="csr"), np.asarray(quads), np.asarray(mirror))]
    for _ in range(levels):
        last = meshes[-1]
        count = last.operator.shape[0]
        step, finer = catmull_clark(count, last.quads)
        edges, _, _ = _edges(last.quads)
        mirrored = np.concatenate(
            [
                last.mirror,
                count + mirror_faces(edges, last.mirror),
                count + len(edges) + mirror_faces(last.quads, last.mirror),
            ]
        )
        meshes.append(SubdividedMesh((step @ last.operator).tocsr(), finer, mirrored))
    return meshes


def mirror_faces(faces: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Index (F,) of the face on the mirrored vertices of each face (F, k); vertex order within a face is ignored.

    Raises ValueError if a mirrored face does not exist.
    """
    count = len(faces)
    rows = np.sort(np.concatenate([faces, mirror[faces]]), axis=1)
    _, key = np.unique(rows, axis=0, return_inverse=True)
    key = key.ravel()
    index = np.full(key.max() + 1, -1)
    index[key[:count]] = np.arange(count)
    mirrored = index[key[count:]]
    if (mirrored < 0).any():
        raise ValueError("the mesh is not closed under its mirror map")
    return mirrored


def triangulate(quads: np.ndarray, vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Triangles (2 Q, 3) of a mirror-symmetric quad mesh, symmetric too and with the quads' orientation.

    Quads on the side x <= 0 are split along their shorter diagonal, those on the other side as their mirror images.
    vertices: (V, 3) mm, symmetric. No quad may straddle the mirror plane as its own image: ValueError.
    """
    partner = mirror_faces(quads, mirror)
    if (partner == np.arange(len(quads))).any():
        raise ValueError("a quad is its own mirror image: it has no symmetric diagonal")
    corner = vertices[quads]
    first = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1)
    second = np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    split_first = first <= second + 1e-6
    start = np.where(split_first, quads[:, 0], quads[:, 1])
    leads = corner[..., 0].mean(1) <= 0
    mirrored_start = mirror[start[partner]]
    split_first = np.where(leads, split_first, (mirrored_start == quads[:, 0]) | (mirrored_start == quads[:, 2]))
    along_first = quads[:, [[0, 1, 2], [0, 2, 3]]]
    along_second = quads[:, [[0, 1, 3], [1, 2, 3]]]
    return np.where(split_first[:, None, None], along_first, along_second).reshape(-1, 3)


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Closed boundary loops of an oriented mesh (F, k), longest first: runs of vertex ids along the faces' sides.

    Each starts at the loop's smallest id. Boundaries must be simple (each boundary vertex on one loop).
    """
    sides = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2).tolist()
    known = {(a, b) for a, b in sides}
    following = {a: b for a, b in sides if (b, a) not in known}
    loops = []
    while following:
        first = min(following)
        loop, vertex = [first], following.pop(first)
        while vertex != first:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(np.array(loop))
    return sorted(loops, key=len, reverse=True)


def _edges(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique undirected edges (E, 2), the edge of each quad's side (Q, 4) and the number of quads at each edge (E,)."""
    sides = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    edges, inverse, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    return edges, inverse.reshape(len(quads), 4), count


def _matrix(rows: np.ndarray, columns: np.ndarray, value: float, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.full(len(rows), value), (rows, columns)), shape=shape)


def _row_sums(matrix: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=1)).ravel()
