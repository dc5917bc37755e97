import cv2
import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.networks.detector import Detection
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import LandmarkPrediction
from facerecon.networks.parsing import CLASS_COUNT, ParsingNetwork
from facerecon.preprocess.face import FaceFinder
from facerecon.report import network_sheet as network_sheet_module
from facerecon.report.network_sheet import SheetNetworks, class_colours, network_sheet


class AllHair(ParsingNetwork):
    def probabilities(self, images):
        classes = torch.zeros(len(images), CLASS_COUNT, *images.shape[-2:])
        classes[:, 17] = 1
        return classes


@pytest.fixture
def networks() -> SheetNetworks:
    """A finder that finds a face in bright photographs: 68 points on a ring, sure of the first half of them."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    model = np.column_stack([60 * np.cos(angle), 60 * np.sin(angle), 10 * np.cos(3 * angle)])
    points = np.float32([50, 40]) + np.column_stack([20 * np.cos(angle), -20 * np.sin(angle)]).astype(np.float32)
    found = LandmarkPrediction(points, np.ones(68), (np.arange(68) < 34).astype(np.float32))
    finder = FaceFinder(
        lambda image: [Detection(points_box(points), 0.9)] if image.max() > 100 else [], lambda image, box: found
    )
    return SheetNetworks(finder, AllHair(size=64, width=4), model)


def test_sheet_shows_where_faces_were_found_and_how_sure_the_network_is(tmp_path, networks):
    for name, value in (("bright", 180), ("dark", 20)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((80, 100, 3), value, np.uint8))
    photographs = [tmp_path / f"{name}.png" for name in ("bright", "dark", "bright")]
    network_sheet(photographs, networks, tmp_path / "sheet.png", columns=2)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1].astype(int)
    tile = STANDARD_SIZE
    assert sheet.shape == (2 * tile, 4 * tile, 3)
    first, second = sheet[:tile, :tile], sheet[:tile, 2 * tile : 3 * tile]
    scale = tile / 100
    sure, unsure = (first[round(40 * scale - 20 * s * scale), round(50 * scale)] for s in (1, -1))
    assert sure[1] > sure[0] and unsure[0] > unsure[1]  # points above the middle are green, below red
    assert second[1, 1].tolist() == [230, 40, 40] and (sheet[:tile, 3 * tile :] == 0).all()
    parsed = sheet[40:100, tile + 80 : tile + 140]
    np.testing.assert_allclose(parsed.mean((0, 1)), (180 + class_colours(18)[17].astype(float)) / 2, atol=3)
    assert (sheet[tile:, 2 * tile :] == 0).all()


def test_of_many_photographs_some_are_shown(tmp_path, networks, monkeypatch):
    read = []
    monkeypatch.setattr(network_sheet_module, "MOST_PHOTOGRAPHS", 3)
    monkeypatch.setattr(
        network_sheet_module, "read_image", lambda path: read.append(path) or np.zeros((40, 40, 3), np.uint8)
    )
    network_sheet([f"{number}.png" for number in range(9)], networks, tmp_path / "sheet.png", columns=3)
    assert read == ["0.png", "4.png", "8.png"]
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (STANDARD_SIZE, 6 * STANDARD_SIZE, 3)


def test_colours_of_the_classes_differ():
    colours = class_colours(CLASS_COUNT)
    assert len(np.unique(colours, axis=0)) == CLASS_COUNT and (colours[0] == 0).all()


def test_bad_sheets(tmp_path, networks):
    with pytest.raises(InputError, match=r"\.png or \.jpg"):
        network_sheet(["face.png"], networks, tmp_path / "sheet.pdf")
    with pytest.raises(InputError, match=r"face\.png: no such file"):
        network_sheet([tmp_path / "face.png"], networks, tmp_path / "sheet.png")
    with pytest.raises(InputError, match="no photographs"):
        network_sheet([], networks, tmp_path / "sheet.png")
