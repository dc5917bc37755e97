"""The head beside the face: eyeballs, eye sockets, teeth, tongue, mouth cavity, lashes, and the rest of the skin.

All of it follows the open face model's own coefficients, so that a reconstructed face can be shown or animated as a
whole head. The face model stays as it is: its mesh is the skin of the face with the front halves of the eyeballs, which
`assemble` replaces by whole ones.
"""

import os
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from facerecon.errors import InputError
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.eyes import IRIS_ANGLE, eye_albedo
from facerecon.morphable.lashes import lash_blades
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.mesh_regions import on_eyeballs
from facerecon.morphable.part_charts import CELLS, subdivide_corners
from facerecon.morphable.parts_file import StoredParts, read_parts
from facerecon.morphable.subdivision import catmull_clark, interpolate_once
from facerecon.morphable.texels import fill_outside, locate_texels

LASHES = "eyelashes"
EYES = ("eye_left", "eye_right")
SAME_PLACE = 1e-4  # mm; vertices nearer than this on the mean head are copies of one another
IRIS_RIM = 1.2  # degrees over which the rims of iris and pupil blend in vertex colours
LASH_COLOUR = 0.012


@dataclass(frozen=True)
class Part:
    """One part at the model's level, of V vertices and F triangles.

    operator: (V, H) sparse, vertices from the head's coarse ones; colour_operator: the same for colours.
    triangles: (F, 3) int32, counter-clockwise seen from where the part is seen. uv: (V, 2) in the parts' atlas,
    [0, 1], u right and v up; a vertex on a seam of the atlas is there once for each of its places.
    """

    operator: sparse.csr_matrix
    colour_operator: sparse.csr_matrix
    triangles: NDArray[np.int32]
    uv: NDArray[np.float32]


@dataclass(frozen=True)
class HeadMesh:
    """Face and parts as one mesh of V vertices and F triangles.

    vertices: (B, V, 3) mm. triangles: (F, 3) int32. uv: (V, 2): the face's chart in the left half of a picture twice as
    wide as high, the parts' atlas in its right half. part: (F,) index into `names`, whose first is "face".
    welded: (V,) id of the first vertex at the same place of the mean head: the surface without seams is
    `welded[triangles]`.
    """

    vertices: Tensor
    triangles: NDArray[np.int32]
    uv: NDArray[np.float32]
    part: NDArray[np.int64]
    names: tuple[str, ...]
    welded: NDArray[np.int64]


def load_parts(model: LinearFaceModel, path: str | os.PathLike | None = None) -> "HeadParts":
    """The parts of the open face model at its level; `None` reads the carried ones.

    Raises InputError if the file is missing, damaged, of another kind or version, or belongs to another face model.
    """
    stored = read_parts(path)
    if stored.face_model_sha256 != model.sha256:
        raise InputError(
            f"the head's parts belong to the face model {stored.face_model_sha256[:12]}, not to {model.sha256[:12]}; "
            "load the carried open model, or build parts for this one"
        )
    return HeadParts(model, stored)


class HeadParts(nn.Module):
    """Parts of the head, linear in the face model's coefficients but for the eyeballs, which turn about their centres.

    Lengths in mm in the head frame. The head's H coarse vertices are the face model's Vc, then the others.
    Buffers: mean (H, 3), identity_basis (80, H, 3), expression_basis (64, H, 3). parts: name -> Part, in the order of
    `names`. head_vertices: (H,) ids in the head generator's mesh; mirror: (H,) mirror map.
    """

    def __init__(self, model: LinearFaceModel, stored: StoredParts):
        super().__init__()
        coarse = model.coarse
        self.head_vertices, self.mirror = stored.head_vertices, stored.mirror
        for name, face, others in (
            ("mean", coarse.mean, stored.mean),
            ("identity_basis", coarse.identity, stored.identity),
            ("expression_basis", coarse.expression, stored.expression),
            ("albedo_mean", model.albedo_mean.numpy(force=True)[: len(coarse.mean)], stored.albedo_mean),
            ("albedo_basis", model.albedo_basis.numpy(force=True)[:, : len(coarse.mean)], stored.albedo),
        ):
            joined = np.concatenate([face, others], axis=-2).astype(np.float32)
            self.register_buffer(name, torch.from_numpy(joined), persistent=False)
        self.register_buffer("iris_mean", torch.from_numpy(stored.iris_mean), persistent=False)
        self.register_buffer("iris_basis", torch.from_numpy(stored.iris), persistent=False)
        # Eyeballs are one level finer than the rest, for the sake of the irises' rims.
        self.parts = {
            name: _subdivide_part(len(self.mean), quads, stored.corners[name], model.level + (name in EYES))
            for name, quads in stored.quads.items()
        }
        mean = np.concatenate([coarse.mean, stored.mean]).astype(np.float64)
        self.parts[LASHES] = _make_lashes(stored.lash_sheets, mean)
        self.names = tuple(self.parts)
        self._eye_vertices = {name: np.unique(stored.quads[name]) for name in EYES}
        self._iris_vertices = {name: ids[_before_iris(mean[ids])] for name, ids in self._eye_vertices.items()}
        for name, part in self.parts.items():
            self.register_buffer(f"_operator_{name}", _to_torch(part.operator), persistent=False)
        self._build_assembly(model, mean)

    def decode(self, identity: Tensor, expression: Tensor, gaze: Tensor | None = None) -> dict[str, Tensor]:
        """Part -> vertices (B, V_part, 3), mm, of coefficients identity (B, 80) and expression (B, 64).

        gaze: (B, 2), or (B, 2, 2) for the left and the right eye: pitch and yaw of the eyeballs in rad; a positive yaw
        looks to the subject's left, a positive pitch down, as for the head's rotation. None: as the expression says.
        """
        neutral = self.mean + (identity @ self.identity_basis.flatten(1)).unflatten(-1, (-1, 3))
        return self.surfaces(neutral, (expression @ self.expression_basis.flatten(1)).unflatten(-1, (-1, 3)), gaze)

    def surfaces(self, neutral: Tensor, offsets: Tensor, gaze: Tensor | None = None) -> dict[str, Tensor]:
        """As `decode`, of neutral coarse heads and the offsets of their expressions, both (B, H, 3) mm.

        For expressions that the 64 coefficients do not hold, such as ARKit's own (`arkit.head_basis`).
        """
        if gaze is None:
            gaze = self.gaze(neutral, offsets)
        moved = self._turn_eyes(neutral, neutral + offsets, gaze)
        columns = moved.transpose(0, 1).flatten(1)
        return {
            name: (getattr(self, f"_operator_{name}") @ columns).unflatten(1, (-1, 3)).transpose(0, 1)
            for name in self.names
        }

    def gaze(self, neutral: Tensor, offsets: Tensor) -> Tensor:
        """Pitch and yaw (B, 2, 2), rad, of the left and the right eye in linear offsets of expressions.

        neutral, offsets: (B, H, 3) mm. Where the middle of the iris goes, seen from the eyeball's centre; a linear
        offset does not keep the eyeball round, the turn does.
        """
        turns = []
        for name in EYES:
            centre = neutral[:, self._ids(self._eye_vertices[name])].mean(1)
            iris = self._ids(self._iris_vertices[name])
            ahead = neutral[:, iris].mean(1) - centre
            turns.append(_pitch_yaw(ahead + offsets[:, iris].mean(1)) - _pitch_yaw(ahead))
        return torch.stack(turns, 1)

    def decode_albedo(self, albedo: Tensor) -> dict[str, Tensor]:
        """Part -> albedo (B, V_part, 3), linear RGB and not clamped, of coefficients (B, 80).

        Skin and irises follow the coefficients; the mouth's colours are fixed and darken with depth, in place of the
        shadow there. The scalp is bald.
        """
        coarse = self.albedo_mean + (albedo @ self.albedo_basis.flatten(1)).unflatten(-1, (-1, 3))
        columns = coarse.transpose(0, 1).flatten(1)
        iris = self.iris_mean + albedo @ self.iris_basis
        colours = {}
        for name, part in self.parts.items():
            if name in EYES:
                points = part.operator @ self.mean.double().numpy(force=True)
                colours[name] = _paint_eyes(points, self._eye_centre(name), iris, IRIS_RIM)
            else:
                operator = _to_torch(part.colour_operator).to(columns.device)
                colours[name] = (operator @ columns).unflatten(1, (-1, 3)).transpose(0, 1)
        return colours

    def paint_atlas(self, albedo: Tensor, size: int) -> NDArray[np.float32]:
        """Albedo picture (size, size, 3), linear RGB in [0, 1], row 0 at the top, of the parts' atlas.

        albedo: (80,) coefficients. The gaps between patches hold the nearest colour.
        """
        colours = self.decode_albedo(albedo[None])
        iris = (self.iris_mean + albedo @ self.iris_basis)[None]
        picture, known = np.zeros((size, size, 3)), np.zeros((size, size), dtype=bool)
        for name, part in self.parts.items():
            if name == LASHES:  # one colour, a cell of their own
                continue
            texels = locate_texels(part.uv, part.triangles, size)
            if name in EYES:
                points = texels.interpolate(part.operator @ self.mean.double().numpy(force=True))
                values = _paint_eyes(points, self._eye_centre(name), iris, IRIS_RIM / 2)[0].numpy(force=True)
            else:
                values = texels.interpolate(colours[name][0].numpy(force=True))
            picture[texels.rows, texels.columns] = values
            known[texels.rows, texels.columns] = True
        left, bottom, cell = CELLS[LASHES]
        rows = slice(size - (bottom + cell) * size // 8, size - bottom * size // 8)
        columns = slice(left * size // 8, (left + cell) * size // 8)
        picture[rows, columns], known[rows, columns] = LASH_COLOUR, True
        return np.clip(fill_outside(picture, known), 0, 1).astype(np.float32)

    def assemble(
        self, face_vertices: Tensor, part_vertices: dict[str, Tensor], names: tuple[str, ...] | None = None
    ) -> HeadMesh:
        """One mesh of the face's skin (B, V, 3), mm, and the named parts as `decode` gives them, all if None.

        The face's own half eyeballs are left out where the parts' are taken.
        """
        names = self.names if names is None else names
        unknown = sorted(set(names) - set(self.names))
        if unknown:
            raise ValueError(f"no part {unknown[0]!r}; there are {', '.join(self.names)}")
        keep = self._skin_triangles if set(EYES) <= set(names) else np.ones(len(self._face_triangles), dtype=bool)
        triangles = [self._face_triangles[keep]]
        start, starts = face_vertices.shape[1], {"face": 0}
        for name in names:
            starts[name] = start
            triangles.append(self.parts[name].triangles + start)
            start += len(self.parts[name].uv)
        uv = np.concatenate([self._face_uv, *(self.parts[name].uv + [1, 0] for name in names)]) * [0.5, 1]
        vertices = torch.cat([face_vertices, *(part_vertices[name] for name in names)], 1)
        places = np.concatenate([self._mean_places["face"], *(self._mean_places[name] for name in names)])
        return _drop_unused(
            HeadMesh(
                vertices=vertices,
                triangles=np.concatenate(triangles).astype(np.int32),
                uv=uv.astype(np.float32),
                part=np.repeat(np.arange(len(triangles)), [len(part) for part in triangles]),
                names=("face", *names),
                welded=_first_at_place(places),
            )
        )

    def _turn_eyes(self, neutral: Tensor, moved: Tensor, gaze: Tensor) -> Tensor:
        angles = gaze[:, None].expand(-1, 2, -1) if gaze.ndim == 2 else gaze
        rotation = euler_to_matrix(torch.cat([angles, torch.zeros_like(angles[..., :1])], -1))
        moved = moved.clone()
        for k, name in enumerate(EYES):
            ids = self._ids(self._eye_vertices[name])
            centre = neutral[:, ids].mean(1, keepdim=True)
            moved[:, ids] = (neutral[:, ids] - centre) @ rotation[:, k].mT + centre
        return moved

    def _ids(self, vertices: NDArray) -> Tensor:
        return torch.as_tensor(vertices, device=self.mean.device)

    def _eye_centre(self, name: str) -> NDArray[np.float64]:
        return self.mean.double().numpy(force=True)[self._eye_vertices[name]].mean(0)

    def _build_assembly(self, model: LinearFaceModel, mean: NDArray[np.float64]) -> None:
        self._face_triangles, self._face_uv = model.topology.triangles, model.topology.uv
        self._mean_places = {name: part.operator @ mean for name, part in self.parts.items()}
        self._mean_places["face"] = model.mean.double().numpy(force=True)
        self._skin_triangles = ~on_eyeballs(model)[self._face_triangles].any(1)


def _subdivide_part(count: int, quads: NDArray, corners: NDArray, level: int) -> Part:
    """A part at a level: the vertices that it uses, those on the atlas's seams once for each place."""
    operator = colour = sparse.identity(count, format="csr")
    for _ in range(level):
        blend = interpolate_once(operator.shape[0], quads)
        step, finer = catmull_clark(operator.shape[0], quads)
        operator, colour, quads, corners = step @ operator, blend @ colour, finer, subdivide_corners(corners)
    places = np.concatenate([quads.reshape(-1, 1), np.round(corners.reshape(-1, 2) * 2**20)], axis=1)
    unique, first, index = np.unique(places, axis=0, return_index=True, return_inverse=True)
    copies = index.reshape(-1, 4)
    used = unique[:, 0].astype(np.int64)
    return Part(
        operator=operator.tocsr()[used],
        colour_operator=colour.tocsr()[used],
        triangles=np.concatenate([copies[:, [0, 1, 2]], copies[:, [0, 2, 3]]]).astype(np.int32),
        uv=corners.reshape(-1, 2)[first].astype(np.float32),
    )


def _make_lashes(sheets: list[NDArray], mean: NDArray[np.float64]) -> Part:
    operators, triangles, start = [], [], 0
    for sheet in sheets:
        operator, blades = lash_blades(sheet, mean, right=bool(mean[sheet].mean((0, 1))[0] < 0))
        operators.append(operator)
        triangles.append(blades + start)
        start += operator.shape[0]
    operator = sparse.vstack(operators).tocsr()
    left, bottom, size = CELLS[LASHES]
    middle = (np.array([left, bottom]) + size / 2) / 8
    return Part(
        operator, operator, np.concatenate(triangles).astype(np.int32), np.tile(middle, (start, 1)).astype(np.float32)
    )


def _paint_eyes(points: NDArray, centre: NDArray, iris: Tensor, softness: float) -> Tensor:
    """Colours (B, N, 3) of points (N, 3) on the mean head's eyeball that looks ahead, for irises (B, 3)."""
    black, white = (
        torch.from_numpy(eye_albedo(points, centre, np.full(3, value), softness=softness, lid_shadow=False)).to(iris)
        for value in (0.0, 1.0)
    )
    return black + (white - black) * iris[:, None]


def _before_iris(points: NDArray) -> NDArray[np.bool_]:
    """(N,) True on the points of an eyeball (N, 3) that looks ahead whose direction lies within its iris."""
    direction = points - points.mean(0)
    return direction[:, 2] > np.cos(np.radians(IRIS_ANGLE)) * np.linalg.norm(direction, axis=1)


def _pitch_yaw(direction: Tensor) -> Tensor:
    """Pitch and yaw (B, 2), rad, by which a look straight ahead takes the directions (B, 3)."""
    direction = direction / direction.norm(dim=-1, keepdim=True)
    return torch.stack([torch.atan2(-direction[:, 1], direction[:, 2]), torch.asin(direction[:, 0])], -1)


def _first_at_place(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each point (N, 3) the smallest index of those within SAME_PLACE of it."""
    pairs = cKDTree(places).query_pairs(SAME_PLACE, output_type="ndarray")
    first = np.arange(len(places))
    np.minimum.at(first, pairs.max(1), pairs.min(1))
    return first


def _drop_unused(mesh: HeadMesh) -> HeadMesh:
    """The mesh without vertices that no triangle uses, as the face's half eyeballs."""
    used = np.unique(mesh.triangles)
    number = np.full(len(mesh.uv), -1)
    number[used] = np.arange(len(used))
    # No copy loses its first vertex: what goes, the half eyeballs, touches nothing else.
    return HeadMesh(
        vertices=mesh.vertices[:, used],
        triangles=number[mesh.triangles].astype(np.int32),
        uv=mesh.uv[used],
        part=mesh.part,
        names=mesh.names,
        welded=number[mesh.welded[used]],
    )


def _to_torch(matrix: sparse.csr_matrix) -> Tensor:
    coo = matrix.tocoo()
    index = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(index, values, coo.shape, check_invariants=True).coalesce()
