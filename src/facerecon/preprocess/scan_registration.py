"""Registration of a scan's file: the scan in a face model's topology, its numbers and a picture to judge it by."""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.artefacts import atomic_file, check_file_target, check_kept
from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity
from facerecon.geometry.cameras import STANDARD_DISTANCE, head_to_camera, project_perspective
from facerecon.geometry.landmark_files import read_landmarks
from facerecon.geometry.mesh_files import read_mesh, write_obj, write_ply
from facerecon.morphable.registration import (
    UNITS,
    RegisteredScan,
    RegistrationModel,
    distances_to_mesh,
    register_scan,
)
from facerecon.render.mesh import render_mesh
from facerecon.render.overlay import CLAY
from facerecon.render.shading import linear_to_srgb
from facerecon.render.unwrap import surface_facing

SUFFIXES = (".obj", ".ply")
GREATEST_SHOWN = 1.0
"""mm at the end of the heat map's colours."""

_WIDTH, _HEIGHT = 480, 600  # of a panel, pixels
_BAR = 34  # height of the strip with the colour bar, pixels
_FIELD = 1.15  # of the model's height that a panel shows
_BACKGROUND = 58
_UNKNOWN = (0.25, 0.25, 0.25)  # linear RGB of scan points that the mesh does not reach up to


@dataclass(frozen=True)
class FileRegistration:
    """registered: the face model on the scan. scan_distances: (N,) mm of the scan's vertices to it, NaN beyond it."""

    registered: RegisteredScan
    scan_distances: NDArray[np.float64]

    def summary(self) -> str:
        """One line for people: distances of the scan to the registered mesh, and how much of the face was found."""
        found = self.scan_distances[np.isfinite(self.scan_distances)]
        covered = f"{100 * self.registered.valid.mean():.0f} % of the face found on the scan"
        if not len(found):
            return covered
        distances = f"mean {found.mean():.2f}, median {np.median(found):.2f}, 95 % below {np.quantile(found, 0.95):.2f}"
        return f"scan to mesh, mm: {distances}; {covered}"


def register_file(
    scan: str | os.PathLike,
    landmarks: str | os.PathLike,
    model: RegistrationModel,
    out: str | os.PathLike,
    unit: str = "mm",
) -> FileRegistration:
    """Register the mesh in a file to a face model, and write the result.

    scan: .obj or .ply. landmarks: its 7 (NoW) or 68 (iBUG) landmarks as .pp, .npy or .txt, in its frame and unit.
    unit: of both, a key of UNITS. out: .obj or .ply to write, mm, along the scan's axes.
    Beside `out`, with its stem: <stem>.npz, which holds identity (I,), expression (E,), placement_rotation (3, 3) and
    placement_translation (3,) mm (head frame -> scan frame), vertices (V, 3) mm in the scan's and head_vertices (V, 3)
    in the head frame, triangles (F, 3), valid (V,), distances (V,) of vertices to the scan and scan_distances (N,) of
    the scan's vertices to the mesh, mm, NaN beyond its border, and mesh, the name of `out`; and <stem>.png, which shows
    the scan, its registration and these distances as a heat map. Each file is written whole or not at all.
    Raises InputError, naming the file, for anything that cannot be registered, and as `check_targets`.
    """
    out = Path(out)
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: name a .obj or .ply file for the registered mesh")
    if unit not in UNITS:
        raise InputError(f"unit {unit!r} is not known: choose one of {', '.join(UNITS)}")
    check_targets(out)
    check_kept(target_files(out), [scan, landmarks])
    mesh = read_mesh(scan)
    points = read_landmarks(landmarks)
    try:
        registered = register_scan((mesh.vertices, mesh.triangles), points, model, UNITS[unit])
    except InputError as error:
        raise InputError(f"{scan}: {error}") from None
    triangles = model.triangles.detach().cpu().numpy().astype(np.int32)
    in_mm = mesh.vertices * UNITS[unit]
    scan_distances = distances_to_mesh(in_mm, registered.vertices, triangles)

    _, numbers, panels = target_files(out)
    with atomic_file(numbers) as temporary:  # the first: by it what follows is known as ours
        np.savez_compressed(
            temporary,
            mesh=out.name,
            identity=registered.identity,
            expression=registered.expression,
            placement_rotation=registered.placement.rotation,
            placement_translation=registered.placement.translation,
            vertices=registered.vertices,
            head_vertices=registered.head_vertices,
            triangles=triangles,
            valid=registered.valid,
            distances=registered.distances,
            scan_distances=scan_distances,
        )
    write = write_obj if out.suffix.lower() == ".obj" else write_ply
    write(out, registered.vertices, triangles)
    picture = draw_registration(in_mm, mesh.triangles, registered, triangles, scan_distances)
    with atomic_file(panels) as temporary:
        cv2.imwrite(str(temporary), picture[:, :, ::-1])
    return FileRegistration(registered, scan_distances)


def target_files(out: str | os.PathLike) -> tuple[Path, Path, Path]:
    """What a registration writes: the mesh `out`, its numbers and its picture."""
    out = Path(out)
    return out, out.with_suffix(".npz"), out.with_suffix(".png")


def check_targets(out: str | os.PathLike) -> None:
    """Raise InputError unless a registration can be written to `out` and replaces nothing but an earlier one.

    An earlier one is known by its .npz, which names the mesh: a picture beside a scan may be the scan's texture.
    """
    mesh, numbers, picture = target_files(out)
    for path in (mesh, numbers, picture):
        check_file_target(path)
    own = _written_mesh(numbers)
    for path, is_own in ((mesh, own == mesh.name), (numbers, own is not None), (picture, own is not None)):
        if path.exists() and not is_own:
            raise InputError(f"{path}: exists and is no registration by facerecon; choose another --out")


def _written_mesh(numbers: Path) -> str | None:
    """Name of the mesh that a registration's .npz came with; None for any other file."""
    try:
        with np.load(numbers, allow_pickle=False) as held:
            return str(held["mesh"]) if {"mesh", "placement_rotation", "scan_distances"} <= set(held) else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def draw_registration(
    scan: NDArray, scan_triangles: NDArray, registered: RegisteredScan, triangles: NDArray, scan_distances: NDArray
) -> NDArray[np.uint8]:
    """Scan, registration and heat map side by side from the front, (H, 3 W, 3) uint8 sRGB.

    scan: (N, 3) mm, scan frame; scan_triangles: (G, 3). triangles: (F, 3) of the model. scan_distances: (N,) mm of the
    scan's vertices to the registration, NaN where unknown (grey); shown from 0 to GREATEST_SHOWN.
    """
    head = registered.head_vertices
    low, high = head.min(0), head.max(0)
    centre = np.array([*(low + high)[:2] / 2, high[2]])
    focal = _HEIGHT / _FIELD / (high[1] - low[1]) * STANDARD_DISTANCE
    to_head = _inverse(registered.placement)
    scan_pixels = _project(to_head.apply(scan) - centre, focal)
    share = np.clip(np.nan_to_num(scan_distances) / GREATEST_SHOWN, 0, 1)
    colours = np.where(np.isnan(scan_distances)[:, None], _UNKNOWN, _heat(share))
    panels = [
        _panel(scan_pixels, scan_triangles, np.broadcast_to(CLAY, scan.shape), focal),
        _panel(_project(head - centre, focal), triangles, np.broadcast_to(CLAY, head.shape), focal),
        _panel(scan_pixels, scan_triangles, colours, focal),
    ]
    mean = np.nanmean(scan_distances) if np.isfinite(scan_distances).any() else np.nan
    captions = ("scan", "registration", f"distance, mean {mean:.2f} mm")
    strip = np.full((_BAR, 3 * _WIDTH, 3), _BACKGROUND, np.uint8)
    bar = 255 * linear_to_srgb(_heat(np.linspace(0, 1, 120)))
    strip[10:24, 3 * _WIDTH - 170 : 3 * _WIDTH - 50] = bar
    for k, caption in enumerate(captions):
        _write(strip, caption, k * _WIDTH + 8)
    _write(strip, f"{GREATEST_SHOWN:g}", 3 * _WIDTH - 44)
    return np.vstack([np.hstack(panels), strip])


def _panel(pixels: Tensor, triangles: NDArray, colours: NDArray, focal: float) -> NDArray[np.uint8]:
    """A mesh lit from the camera, whichever way its triangles turn."""
    triangles = np.asarray(triangles)
    facing = surface_facing(pixels, triangles, focal, (_WIDTH / 2, _HEIGHT / 2)).abs()
    shaded = torch.from_numpy(np.asarray(colours, np.float32))[None] * (0.15 + 0.85 * facing[..., None])
    image, mask = render_mesh(pixels, triangles, shaded, _HEIGHT, _WIDTH, cull=False)
    picture = np.rint(255 * linear_to_srgb(image[0].clamp(0, 1)).numpy())
    return np.where(mask[0, ..., None].numpy(), picture, _BACKGROUND).astype(np.uint8)


def _project(vertices: NDArray, focal: float) -> Tensor:
    camera = head_to_camera(
        torch.from_numpy(np.asarray(vertices, np.float32))[None],
        torch.eye(3)[None],
        torch.tensor([[0.0, 0.0, STANDARD_DISTANCE]]),
    )
    return project_perspective(camera, focal, (_WIDTH / 2, _HEIGHT / 2))


def _inverse(placement: Similarity) -> Similarity:
    """Inverse of a rigid placement."""
    return Similarity(1.0, placement.rotation.T, -placement.rotation.T @ placement.translation)


def _heat(share: NDArray) -> NDArray[np.float64]:
    """Linear RGB (N, 3) from blue through green and yellow to red for shares (N,) in [0, 1]."""
    stops = np.array([[0.05, 0.1, 0.6], [0.05, 0.5, 0.5], [0.1, 0.6, 0.1], [0.8, 0.7, 0.05], [0.7, 0.03, 0.03]])
    return np.stack([np.interp(share, np.linspace(0, 1, len(stops)), stops[:, k]) for k in range(3)], axis=1)


def _write(strip: NDArray[np.uint8], text: str, left: int) -> None:
    cv2.putText(strip, text, (left, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)
