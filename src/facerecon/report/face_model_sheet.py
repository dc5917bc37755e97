"""A picture of a face model: what it is made of and what its first coefficients do."""

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.artefacts import atomic_file
from facerecon.errors import InputError
from facerecon.geometry.cameras import STANDARD_DISTANCE, head_to_camera, project_perspective
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.skinned import SkinnedFaceModel
from facerecon.morphable.topology import Topology
from facerecon.render.mesh import render_mesh
from facerecon.render.overlay import CLAY, draw_landmarks
from facerecon.render.shading import linear_to_srgb
from facerecon.render.unwrap import surface_facing

TILE = 260
"""Side of a panel, pixels."""
COLUMNS = 6
IDENTITY_SPREAD, ALBEDO_SPREAD = 3.0, 2.0
"""Standard deviations to either side that components are shown at; albedo is linear and leaves [0, 1] beyond."""
RAISED = 2.0
"""Value that expression components are shown at; the jaw's as well."""
REGION_COLOURS = {
    "skin": (0.55, 0.4, 0.32), "brows": (0.1, 0.06, 0.04), "eyes": (0.8, 0.8, 0.85), "nose": (0.2, 0.5, 0.2),
    "lips": (0.6, 0.05, 0.08), "ears": (0.15, 0.25, 0.6), "forehead": (0.65, 0.5, 0.1),
}  # fmt: skip
"""Linear RGB; vertices of no region are gray."""

_CAPTION = 22
_BACKGROUND = 58
_NO_REGION = (0.2, 0.2, 0.2)
_YAW = 0.7  # rad, of the turned view
_FIELD = 1.12  # of the mean face's larger side that a panel shows

Panel = tuple[str, NDArray[np.uint8]]


def write_model_sheet(model: FaceModel, out: str | os.PathLike) -> None:
    """Write the picture: the mean face in clay, turned, with albedo, landmarks, regions and its UV chart; then
    identity, expression and albedo components one by one.

    out: PNG or JPEG. Raises InputError if it is no picture's name.
    """
    if Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{out}: name a .png or .jpg file")
    sheet = draw_model_sheet(model)
    with atomic_file(out) as temporary:
        cv2.imwrite(str(temporary), sheet[:, :, ::-1])


@torch.no_grad()
def draw_model_sheet(model: FaceModel) -> NDArray[np.uint8]:
    """The picture of `write_model_sheet`, (H, W, 3) uint8 sRGB."""
    draw = _Painter(model)
    topology = model.topology
    colours = np.tile(np.float32(_NO_REGION), (len(topology.uv), 1))
    for name, mask in topology.regions.items():
        colours[mask] = REGION_COLOURS[name]
    rows: list[list[Panel]] = [
        [
            ("mean face", draw.clay(draw.mean)),
            ("turned", draw.clay(draw.mean, _YAW)),
            ("mean albedo", draw.coloured(draw.mean, model.albedo_mean)),
            ("68 landmarks", draw.with_landmarks()),
            ("regions", draw.coloured(draw.mean, torch.from_numpy(colours))),
            ("UV chart", _chart(topology)),
        ]
    ]
    rows += [_components(draw, "identity", sign * IDENTITY_SPREAD) for sign in (-1, 1)]
    jaw = _jaw(draw)
    rows.append(_components(draw, "expression", RAISED)[: COLUMNS - len(jaw)] + jaw)
    rows += [_components(draw, "albedo", sign * ALBEDO_SPREAD) for sign in (-1, 1)]
    return np.vstack([_joined(row) for row in rows if row])


class _Painter:
    """Views of a model's faces, all by one camera that frames the mean face."""

    def __init__(self, model: FaceModel):
        self.model = model
        self.mean = model.mean[None]
        low, high = self.mean[0].min(0).values, self.mean[0].max(0).values
        self._centre = (low + high) / 2
        self._focal = TILE / _FIELD / float((high - low)[:2].max()) * (STANDARD_DISTANCE - float(high[2]))

    def decode(self, part: str, component: int, value: float) -> tuple[Tensor, Tensor]:
        """Vertices (1, V, 3) and albedo (V, 3) with one coefficient set."""
        given = {name: torch.zeros(1, size) for name, size in self.model.dimensions.items()}
        given[part][0, component] = value
        vertices = self.model.decode(given["identity"], given["expression"])
        return vertices, self.model.decode_albedo(given["albedo"])[0]

    def clay(self, vertices: Tensor, yaw: float = 0.0) -> NDArray[np.uint8]:
        return self.coloured(vertices, torch.tensor(CLAY).expand(vertices.shape[1], 3), yaw)

    def coloured(self, vertices: Tensor, colours: Tensor, yaw: float = 0.0) -> NDArray[np.uint8]:
        """Vertices (1, V, 3) with linear RGB (V, 3), lit from the camera."""
        pixels = self._project(vertices, yaw)
        facing = surface_facing(pixels, self.model.triangles, self._focal, (TILE / 2, TILE / 2)).clamp(min=0)
        shaded = colours[None] * (0.15 + 0.85 * facing[..., None])
        image, mask = render_mesh(pixels, self.model.triangles, shaded, TILE)
        picture = np.rint(255 * linear_to_srgb(image[0].clamp(0, 1)).numpy())
        return np.where(mask[0, ..., None].numpy(), picture, _BACKGROUND).astype(np.uint8)

    def with_landmarks(self) -> NDArray[np.uint8]:
        points = self._project(self.model.landmarks(self.mean), 0.0)[0, :, :2]
        return draw_landmarks(self.clay(self.mean), points, radius=1.5)

    def _project(self, points: Tensor, yaw: float) -> Tensor:
        rotation = euler_to_matrix(torch.tensor([[0.0, yaw, 0.0]]))
        placed = head_to_camera(points - self._centre, rotation, torch.tensor([[0.0, 0.0, STANDARD_DISTANCE]]))
        return project_perspective(placed, self._focal, (TILE / 2, TILE / 2))


def _components(draw: _Painter, part: str, value: float) -> list[Panel]:
    """The first components of a part, each at `value`."""
    linear = {"expression": len(draw.model.expression_basis)}
    panels = []
    for component in range(min(linear.get(part, draw.model.dimensions[part]), COLUMNS)):
        vertices, albedo = draw.decode(part, component, value)
        view = draw.coloured(vertices, albedo) if part == "albedo" else draw.clay(vertices)
        panels.append((f"{part} {component + 1}: {value:+g}", view))
    return panels


def _jaw(draw: _Painter) -> list[Panel]:
    """The jaw opened, where a model turns it."""
    if not isinstance(draw.model, SkinnedFaceModel):
        return []
    opening = draw.model.dimensions["expression"] - 3
    return [(f"jaw: {RAISED:+g}", draw.clay(draw.decode("expression", opening, RAISED)[0]))]


def _chart(topology: Topology) -> NDArray[np.uint8]:
    """Edges of the texture coordinates' triangles."""
    chart = np.full((4 * TILE, 4 * TILE, 3), _BACKGROUND, np.uint8)
    places = np.stack([topology.uv[:, 0], 1 - topology.uv[:, 1]], axis=1) * (4 * TILE - 1)
    outlines = np.rint(places[topology.triangles]).astype(np.int32)
    cv2.polylines(chart, list(outlines), True, (200, 200, 200), 1, cv2.LINE_AA)
    return cv2.resize(chart, (TILE, TILE), interpolation=cv2.INTER_AREA)


def _joined(panels: list[Panel]) -> NDArray[np.uint8]:
    """Panels side by side under their captions, filled up to COLUMNS."""
    row = np.full((TILE + _CAPTION, COLUMNS * TILE, 3), _BACKGROUND, np.uint8)
    for number, (caption, picture) in enumerate(panels):
        left = number * TILE
        row[_CAPTION:, left : left + TILE] = picture
        cv2.putText(row, caption, (left + 8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
    return row
