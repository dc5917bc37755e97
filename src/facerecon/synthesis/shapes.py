"""Meshes of things around the head and the solids that they are made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """A coloured piece of the scene in the head frame: vertices (V, 3) mm, triangles (F, 3), colours (V, 3) linear RGB,
    labels (F,) parsing classes.

    skin: (F,) True where the surface is shaded as skin, None nowhere. visibility: (V,) share of the sky that a vertex
    sees, [0, 1]; None for a thin shell that is lit on both sides. gloss: strength of the highlight.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colours: NDArray[np.float32]
    labels: NDArray[np.uint8]
    skin: NDArray[np.bool_] | None = None
    visibility: NDArray[np.float32] | None = None
    gloss: float = 0.01


def unit(vectors: NDArray) -> NDArray:
    """Vectors (..., 3) scaled to length 1; a zero vector stays zero."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def merge(meshes: list[Mesh]) -> Mesh:
    """Several plain shells as one mesh."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32),
        np.concatenate([mesh.triangles + at for mesh, at in zip(meshes, offsets, strict=True)]).astype(np.int32),
        np.concatenate([mesh.colours for mesh in meshes]).astype(np.float32),
        np.concatenate([mesh.labels for mesh in meshes]).astype(np.uint8),
        gloss=max(mesh.gloss for mesh in meshes),
    )


def coloured(vertices: NDArray, triangles: NDArray, colour: NDArray, label: int, gloss: float = 0.01) -> Mesh:
    """A shell of one colour (3,) and one parsing class."""
    return Mesh(
        np.asarray(vertices, np.float32),
        np.asarray(triangles, np.int32),
        np.tile(np.asarray(colour, np.float32), (len(vertices), 1)),
        np.full(len(triangles), label, np.uint8),
        gloss=gloss,
    )


def grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Two triangles a cell of a (rows, columns) vertex grid."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (i * columns + j).ravel()
    first = np.stack([a, a + 1, a + columns], 1)
    second = np.stack([a + 1, a + columns + 1, a + columns], 1)
    return np.concatenate([first, second]).astype(np.int32)


def tube(path: NDArray, radius: float | NDArray, flat: float = 1.0, corners: int = 8) -> tuple[NDArray, NDArray]:
    """Vertices and triangles of a tube along path (N, 3), mm; radius: of all or (N,). flat: height over depth, where
    depth is the section's extent toward z."""
    path = np.asarray(path, float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    upright = np.array([0.0, 1.0, 0.0])
    reference = np.where(np.abs(tangent[:, 2:3]) > 0.8, upright, np.array([0.0, 0.0, 1.0]))
    first = np.cross(tangent, reference)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(tangent, first)
    radius = np.broadcast_to(np.asarray(radius, float), (len(path),))[:, None]
    turns = np.linspace(0.0, 2.0 * np.pi, corners + 1)
    rings = [path + radius * (flat * np.cos(turn) * first + np.sin(turn) * second) for turn in turns]
    return np.stack(rings, 1).reshape(-1, 3), grid_triangles(len(path), corners + 1)


def lathe(profile: NDArray, columns: int = 24) -> tuple[NDArray, NDArray]:
    """Vertices and triangles of a solid of revolution about y; profile (N, 2): radius and height, mm."""
    turns = np.linspace(0.0, 2.0 * np.pi, columns)
    radius, height = np.asarray(profile, float).T
    grid = np.stack(
        [radius[:, None] * np.cos(turns), np.repeat(height[:, None], columns, 1), radius[:, None] * np.sin(turns)], -1
    )
    return grid.reshape(-1, 3), grid_triangles(len(radius), columns)


def rounded_box(half: tuple[float, float, float], power: float = 8.0, rows: int = 20) -> tuple[NDArray, NDArray]:
    """Vertices and triangles of a box with soft edges: a superellipsoid of half sizes (x, y, z), mm."""
    up, around = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rows), np.linspace(-np.pi, np.pi, 2 * rows), indexing="ij"
    )

    def bent(value: NDArray) -> NDArray:
        return np.sign(value) * np.abs(value) ** (2.0 / power)

    grid = np.stack(
        [bent(np.cos(up)) * bent(np.cos(around)), bent(np.cos(up)) * bent(np.sin(around)), bent(np.sin(up))], -1
    )
    return (grid * half).reshape(-1, 3), grid_triangles(rows, 2 * rows)
