"""A toy head and NoW folders made of it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from facerecon.geometry.mesh_files import write_obj, write_ply


class ToyHead(NamedTuple):
    """vertices: (V, 3) mm. triangles: (F, 3). landmarks: (7, 3) mm, vertices of the mesh, NoW order."""

    vertices: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray


def _make_head(columns: int, rows: int, grow: float = 0.0, dents: float = 4.0) -> ToyHead:
    """The front half of a lopsided ellipsoid with a nose, as a grid over its angles. grow, dents: mm."""
    across, up = np.meshgrid(np.linspace(-1.4, 1.4, columns), np.linspace(-1.4, 1.4, rows))

    def point(a, u):
        direction = np.stack([np.sin(a) * np.cos(u), np.sin(u), np.cos(a) * np.cos(u)], axis=-1)
        nose = 25 * np.exp(-(a**2 / 0.02 + (u + 0.1) ** 2 / 0.05))
        dent = dents * np.sin(3 * a + 1) * np.cos(4 * u)
        radius = np.array([72.0, 95.0, 85.0])
        return direction * radius + direction * (nose + dent + grow)[..., None]

    vertices = point(across, up).reshape(-1, 3)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + columns + 1], axis=1),
            np.stack([corner, corner + columns + 1, corner + columns], axis=1),
        ]
    )
    angles = [(-0.6, 0.4), (-0.25, 0.4), (0.25, 0.4), (0.6, 0.4), (0.0, -0.3), (-0.35, -0.55), (0.35, -0.55)]
    landmarks = point(*np.array(angles).T)
    return ToyHead(vertices, triangles, landmarks)


@pytest.fixture(scope="session")
def head() -> ToyHead:
    """A fine toy head, to be scanned."""
    return _make_head(81, 81)


@pytest.fixture(scope="session")
def coarse_head() -> ToyHead:
    """A coarser mesh of a slightly larger head, to be the prediction: an imperfect one."""
    return _make_head(31, 33, grow=1.5, dents=2.0)


@pytest.fixture(scope="session")
def write_scan() -> Callable:
    """write_scan(benchmark, subject, head): its scan and picked points."""

    def write(benchmark: Path, subject: str, head: ToyHead) -> None:
        write_obj(benchmark / "scans" / subject / "scan.obj", head.vertices, head.triangles)
        points = "".join(
            f' <point x="{x:.9g}" y="{y:.9g}" z="{z:.9g}" active="1" name="{i}"/>\n'
            for i, (x, y, z) in enumerate(head.landmarks.tolist())
        )
        path = benchmark / "scans_lmks_onlypp" / subject / "scan_picked_points.pp"
        path.parent.mkdir(parents=True)
        path.write_text(
            "<!DOCTYPE PickedPoints>\n<PickedPoints>\n <DocumentData>\n"
            '  <DateTime time="12:00:00" date="2020-01-01"/>\n  <User name="annotator"/>\n'
            '  <DataFileName name="scan.obj"/>\n  <templateName name=""/>\n </DocumentData>\n'
            f"{points}</PickedPoints>\n"
        )

    return write


@pytest.fixture(scope="session")
def write_prediction() -> Callable:
    """write_prediction(predictions, image, vertices, triangles, landmarks, mesh_suffix, landmark_suffix)."""

    def write(predictions, image, vertices, triangles, landmarks, mesh_suffix=".obj", landmark_suffix=".npy") -> None:
        base = predictions / Path(image).with_suffix("")
        base.parent.mkdir(parents=True, exist_ok=True)
        write_mesh = write_obj if mesh_suffix == ".obj" else write_ply
        write_mesh(base.with_suffix(mesh_suffix), vertices, triangles)
        if landmark_suffix == ".npy":
            np.save(base.with_suffix(".npy"), landmarks)
        else:
            np.savetxt(base.with_suffix(".txt"), landmarks, fmt="%.9g")

    return write


IMAGES = (
    "S1/multiview_neutral/IMG_1.jpg",
    "S1/multiview_expressions/IMG_2.jpg",
    "S2/multiview_occlusions/IMG_1.jpg",
    "S2/selfie/IMG_9.jpg",
)


@pytest.fixture
def toy_folders(tmp_path, head, coarse_head, write_scan, write_prediction) -> tuple[Path, Path]:
    """A benchmark of two subjects and four images, one a challenge, and a full set of predictions (mm)."""
    benchmark, predictions = tmp_path / "benchmark", tmp_path / "predictions"
    larger = ToyHead(head.vertices * 1.1, head.triangles, head.landmarks * 1.1)
    for subject, subject_head in (("S1", head), ("S2", larger)):
        write_scan(benchmark, subject, subject_head)
    (benchmark / "imagepathsvalidation.txt").write_text("\n".join(IMAGES) + "\n")
    for image in IMAGES:
        write_prediction(predictions, image, *coarse_head)
    return benchmark, predictions
