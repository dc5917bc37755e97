"""Pictures of reconstructions for people to look at."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facerecon.artefacts import atomic_file
from facerecon.errors import InputError
from facerecon.geometry.cameras import STANDARD_DISTANCE, head_to_camera, project_perspective, standard_focal
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize

TILE = 300
"""Side of a picture in the sheet, pixels."""
YAWS = (-0.8, 0.0, 0.8)
"""Turns of the head in the textured views, rad."""
_FIELD = 250 / 224  # of the standard crop's width that a view shows
_BACKGROUND = 58


def reconstruction_sheet(folders: Sequence[str | os.PathLike], out: str | os.PathLike) -> None:
    """One row a reconstruction: overlay, three views with the texture, the frontal view with the albedo alone.

    folders: as `facerecon reconstruct` writes them. out: PNG or JPEG.
    Raises InputError if a folder is no reconstruction or `out` is no picture's name.
    """
    if not folders:
        raise InputError("no reconstructions were given")
    if Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{out}: name a .png or .jpg file")
    rows = [_row(Path(folder)) for folder in folders]
    with atomic_file(out) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows))


def textured_view(
    vertices: NDArray[np.float32], triangles: NDArray, uv: NDArray[np.float32], texture: NDArray[np.uint8], yaw: float
) -> NDArray[np.uint8]:
    """A mesh (V, 3), mm, head frame, turned by `yaw` rad, unlit with its texture (T, T, 3), as (TILE, TILE, 3)."""
    rotation = euler_to_matrix(torch.tensor([[0.0, yaw, 0.0]]))
    camera = head_to_camera(torch.from_numpy(vertices)[None], rotation, torch.tensor([[0.0, 0.0, STANDARD_DISTANCE]]))
    pixels = project_perspective(camera, standard_focal(TILE) / _FIELD, (TILE / 2.0, TILE / 1.75))
    index, _ = rasterize(pixels, triangles, TILE, TILE)
    place = interpolate(index, pixels, triangles, torch.from_numpy(uv)[None])[0].numpy() * texture.shape[0]
    column, row = place[..., 0] - 0.5, texture.shape[0] - place[..., 1] - 0.5
    view = cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    view[index[0].numpy() < 0] = _BACKGROUND
    return view


def _row(folder: Path) -> NDArray[np.uint8]:
    try:
        with np.load(folder / "reconstruction.npz") as arrays:
            mesh = [arrays[name] for name in ("vertices", "triangles", "uv")]
            landmarks = arrays["landmarks_2d"]
    except (OSError, KeyError, ValueError):
        raise InputError(f"{folder}: holds no reconstruction; give a folder that facerecon reconstruct wrote") from None
    overlay, texture, albedo = (_picture(folder / f"{name}.png") for name in ("overlay", "texture", "albedo"))
    views = [textured_view(*mesh, texture, yaw) for yaw in YAWS]
    return np.hstack([_fitted(_around_face(overlay, landmarks)), *views, textured_view(*mesh, albedo, 0.0)])


def _picture(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    if picture is None:
        raise InputError(f"{path}: cannot be read; reconstruct the photograph again")
    return picture


def _around_face(picture: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The part of an overlay around landmarks (68, 2); all of it if it was made smaller than its photograph."""
    low, high = landmarks.min(0), landmarks.max(0)
    centre, half = (low + high) / 2.0, 0.95 * float((high - low).max())
    if (centre >= picture.shape[1::-1]).any():
        return picture
    left, top = np.maximum(centre - half, 0).astype(int)
    right, bottom = np.ceil(centre + half).astype(int)
    return picture[top:bottom, left:right]


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture shrunk or enlarged into a tile, with bars where its sides differ."""
    height, width = picture.shape[:2]
    ratio = TILE / max(height, width)
    shape = max(1, round(width * ratio)), max(1, round(height * ratio))
    tile = np.full((TILE, TILE, 3), _BACKGROUND, np.uint8)
    left, top = (TILE - shape[0]) // 2, (TILE - shape[1]) // 2
    tile[top : top + shape[1], left : left + shape[0]] = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
    return tile
