"""Small meshes of faces and heads that tests build, and a small face model on one."""

from dataclasses import dataclass, field

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from facerecon.morphable.landmark_convention import published_mean_landmarks


@dataclass(frozen=True)
class ToyModel:
    """A linear face model with what registration asks for and no more; its last vertices copy `seam_copies`."""

    mean: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    triangles: Tensor
    landmark_vertices: Tensor
    seam_copies: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def dimensions(self) -> dict[str, int]:
        return {"identity": len(self.identity_basis), "expression": len(self.expression_basis)}

    def shape(self, identity: NDArray, expression: NDArray) -> NDArray[np.float64]:
        """Vertices (V, 3) of coefficients (I,) and (E,)."""
        given = (torch.from_numpy(np.asarray(value, np.float64))[None] for value in (identity, expression))
        return self.decode(*given)[0].numpy()

    def decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        offsets = torch.tensordot(identity, self.identity_basis, 1)
        return self.mean + offsets + torch.tensordot(expression, self.expression_basis, 1)

    def jacobian(self, identity: Tensor, expression: Tensor, vertices: Tensor) -> Tensor:
        return torch.cat([self.identity_basis[:, vertices], self.expression_basis[:, vertices]]).permute(1, 2, 0)

    def landmarks(self, vertices: Tensor) -> Tensor:
        return vertices[:, self.landmark_vertices]


def toy_model(columns: int = 45, rows: int = 57) -> ToyModel:
    """Face of a bent sheet, 130 mm wide, with nose, brow and lips; three identity and two expression components."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-65, 65, columns), np.linspace(-85, 85, rows)))

    def bump(x0: float, y0: float, wide: float, high: float) -> NDArray[np.float64]:
        return np.exp(-(((x - x0) / wide) ** 2) - ((y - y0) / high) ** 2)

    nose, brow, lips = bump(0, -8, 11, 20), bump(0, 30, 45, 8), bump(0, -45, 24, 8)
    z = 70 * np.sqrt(1 - (x / 100) ** 2 - (y / 140) ** 2) + 24 * nose + 4 * brow + 5 * lips - 70
    z -= 7 * (bump(-31, 18, 13, 9) + bump(31, 18, 13, 9))
    mean = np.stack([x, y, z], axis=1)
    zero = np.zeros_like(x)
    identity = np.stack(
        [
            np.stack([0.06 * x, zero, zero], 1),
            np.stack([zero, 0.05 * y, 2 * np.cos(y / 40)], 1),
            np.stack([zero, zero, 3 * nose], 1),
        ]
    )
    expression = np.stack(
        [
            np.stack([zero, -4 * bump(0, -70, 40, 25), zero], 1),
            np.stack([3 * (bump(25, -45, 12, 12) - bump(-25, -45, 12, 12)), zero, zero], 1),
        ]
    )
    published = 100 * published_mean_landmarks()
    published -= published[27:].mean(0) - [0, -10, 0]
    landmarks = np.linalg.norm(published[:, None, :2] - mean[None, :, :2], axis=2).argmin(1)
    mean -= mean[landmarks].mean(0)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([a, a + 1, a + columns + 1, a + columns], axis=1)
    arrays = [torch.from_numpy(array) for array in (mean, identity, expression)]
    triangles = torch.from_numpy(quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3))
    return ToyModel(*arrays, triangles, torch.from_numpy(landmarks))


def toy_head() -> tuple[NDArray[np.float64], NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Head open at the neck, with eye holes, whole eyeballs, a mouth cavity and a row of teeth inside.

    Returns vertices (V, 3) mm head frame, triangles (F, 3) and the vertex ids of skin, eyeballs and teeth.
    """
    sphere = trimesh.creation.icosphere(subdivisions=5)
    vertices, triangles = np.array(sphere.vertices) * [75, 115, 95], np.array(sphere.faces)
    front = vertices[:, 2] > 0
    mouth = np.exp(-((vertices[:, 0] / 20) ** 2) - ((vertices[:, 1] + 45) / 7) ** 2)
    vertices[front, 2] -= 45 * mouth[front]
    nose = np.exp(-((vertices[:, 0] / 10) ** 2) - ((vertices[:, 1] + 10) / 18) ** 2)
    vertices[front, 2] += 25 * nose[front]
    centre = vertices[triangles].mean(1)
    eye = np.array([30.0, 22.0])
    across = np.stack([np.abs(centre[:, 0]), centre[:, 1]], axis=1) - eye
    hole = (np.linalg.norm(across, axis=1) < 11) & (centre[:, 2] > 0)
    triangles = triangles[(centre[:, 1] > -85) & ~hole]
    used, triangles = np.unique(triangles, return_inverse=True)
    parts, faces = [vertices[used]], [triangles.reshape(-1, 3)]
    ball = trimesh.creation.icosphere(subdivisions=3)
    for side in (1, -1):
        faces.append(np.array(ball.faces) + sum(map(len, parts)))
        parts.append(np.array(ball.vertices) * 13 + [side * eye[0], eye[1], 68])
    box = trimesh.creation.box((30, 5, 5)).subdivide()
    faces.append(np.array(box.faces) + sum(map(len, parts)))
    parts.append(np.array(box.vertices) + [0, -45, 30])
    ends = np.cumsum([len(part) for part in parts])
    names = {"skin": np.arange(ends[0]), "eyeballs": np.arange(ends[0], ends[2]), "teeth": np.arange(ends[2], ends[3])}
    return np.concatenate(parts), np.concatenate(faces), names


def remeshed(vertices: NDArray, triangles: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Another triangulation of an oriented surface: centroids added, all inner edges flipped, inner vertices slid.

    The old vertices of the interior move along the surface to where no vertex was, borders stay.
    """
    count, faces = len(vertices), len(triangles)
    centroids = vertices[triangles].mean(1)
    sides = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)
    face = np.repeat(np.arange(faces), 3)
    key, back = sides[:, 0] * count + sides[:, 1], sides[:, 1] * count + sides[:, 0]
    order = np.argsort(key)
    place = np.minimum(np.searchsorted(key[order], back), len(key) - 1)
    inner = key[order][place] == back
    neighbour = face[order][place]
    flipped = np.stack([sides[inner, 0], count + neighbour[inner], count + face[inner]], axis=1)
    border = np.stack([sides[~inner, 0], sides[~inner, 1], count + face[~inner]], axis=1)
    beside = np.zeros(count, int)
    beside[triangles.ravel()] = face
    share = np.full(count, 0.4)
    share[sides[~inner].ravel()] = 0
    slid = vertices + (centroids[beside] - vertices) * share[:, None]
    return np.concatenate([slid, centroids]), np.concatenate([flipped, border])
