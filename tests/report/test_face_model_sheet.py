"""The picture of a face model."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.morphable.storage import load_face_model
from facerecon.report.face_model_sheet import COLUMNS, TILE, write_model_sheet

ROWS = 6


@pytest.fixture(scope="module")
def panels(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Panels (6, 6, TILE, TILE, 3) of the open model's picture, without captions, uint8 RGB."""
    path = tmp_path_factory.mktemp("sheet") / "open.png"
    write_model_sheet(load_face_model(), path)
    sheet = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    height = len(sheet) // ROWS
    assert sheet.shape == (ROWS * height, COLUMNS * TILE, 3)
    rows = [sheet[(k + 1) * height - TILE : (k + 1) * height] for k in range(ROWS)]
    return np.stack([np.stack(np.split(row, COLUMNS, axis=1)) for row in rows])


def test_every_panel_shows_a_face_of_its_own(panels: np.ndarray) -> None:
    flat = panels.reshape(-1, TILE, TILE, 3).astype(int)
    assert ((flat != flat[0, 0, 0]).any(3).mean((1, 2)) > 0.15).all()
    for k in range(len(flat)):
        for other in range(k):
            assert np.abs(flat[k] - flat[other]).mean() > 0.05, (k, other)


def test_components_go_both_ways(panels: np.ndarray) -> None:
    covered = (panels != panels[0, 0, 0, 0]).any(-1).mean((-1, -2))
    assert covered[1, 0] > 1.2 * covered[2, 0]  # the first identity component is the head's size
    brightness = panels.astype(float).mean((-1, -2, -3))
    assert brightness[4, 0] < brightness[0, 2] < brightness[5, 0]  # the first albedo component is the skin's tone


def test_the_mean_albedo_is_skin(panels: np.ndarray) -> None:
    red, green, blue = panels[0, 2][TILE // 3 : TILE // 2].reshape(-1, 3).max(0).astype(int)
    assert red > green > blue


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sheet\.pdf: name a \.png"):
        write_model_sheet(load_face_model(), tmp_path / "sheet.pdf")
