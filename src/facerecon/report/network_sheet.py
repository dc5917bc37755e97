"""Contact sheets: photographs with what the networks find in them, for people to look at."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facerecon.data.images import read_image, write_image
from facerecon.errors import InputError
from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.networks.parsing import ParsingNetwork, load_parsing, parse_face
from facerecon.preprocess.face import Face, FaceFinder, NoFaceError, find_face
from facerecon.progress import track

SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_PHOTOGRAPHS = 64
"""In a sheet."""
_TILE = STANDARD_SIZE
_FOUND, _MISSED = (60, 220, 60), (230, 40, 40)
_LEAST_COLOUR, _MOST_COLOUR = np.array([230, 40, 40]), np.array([60, 220, 60])  # of no and of full confidence
_LABEL_SHARE = 0.5  # of the class colours in the parsed crop
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True)
class SheetNetworks:
    """What the sheet's results come from. mean_landmarks: (68, 3) mm of the mean face, for the standard crop."""

    finder: FaceFinder
    parsing: ParsingNetwork
    mean_landmarks: NDArray

    @classmethod
    def load(
        cls,
        detector: str | os.PathLike | None = None,
        landmarks: str | os.PathLike | None = None,
        parsing: str | os.PathLike | None = None,
    ) -> "SheetNetworks":
        """The networks of weights files; None takes those carried."""
        from facerecon.morphable.storage import load_face_model
        from facerecon.preprocess.landmark_fit import LandmarkBasis

        finder = FaceFinder.load({"detector": detector, "landmarks": landmarks})
        return cls(finder, load_parsing(parsing), LandmarkBasis.of(load_face_model()).mean.numpy())


def network_sheet(
    photographs: Sequence[str | os.PathLike], networks: SheetNetworks, out: str | os.PathLike, columns: int = 8
) -> None:
    """Write a sheet: two tiles a photograph, the whole of it with box and landmarks (green where the network is
    confident, red where not; framed red where no face is found), and its standard crop in the parsing classes' colours.

    photographs: files, read one after the other; of more than MOST_PHOTOGRAPHS, so many are shown, evenly spread.
    out: PNG or JPEG; columns: photographs beside each other.
    Raises InputError if there are none, one cannot be read, or `out` is no picture's name.
    """
    check_sheet_name(out)
    if not photographs:
        raise InputError("no photographs were given for the sheet")
    shown = _spread(photographs)
    tiles = [_tiles(read_image(path), networks) for path in track(shown, "sheet", len(shown))]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])
    write_image(out, sheet)


def _spread(photographs: Sequence[str | os.PathLike]) -> list[str | os.PathLike]:
    """At most MOST_PHOTOGRAPHS of them, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(photographs) - 1, min(MOST_PHOTOGRAPHS, len(photographs))).round().astype(int)
    return [photographs[place] for place in places]


def check_sheet_name(out: str | os.PathLike) -> None:
    """Raises InputError unless `out` names a PNG or JPEG file."""
    if Path(out).suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: name a .png or .jpg file")


def class_colours(count: int) -> NDArray[np.uint8]:
    """(count, 3) colours that neighbours in number do not share; class 0 black."""
    hue = (np.arange(count) * 53) % 180
    value = np.where(np.arange(count) % 2, 255, 170)
    hsv = np.stack([hue, np.full(count, 200), value], -1).astype(np.uint8)
    colours = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colours[0] = 0
    return colours


def _tiles(picture: NDArray[np.uint8], networks: SheetNetworks) -> NDArray[np.uint8]:
    """(TILE, 2 TILE, 3)"""
    try:
        face = find_face(picture, networks.finder, networks.mean_landmarks)
    except NoFaceError:
        whole = _fitted(picture)[0]
        cv2.rectangle(whole, (0, 0), (_TILE - 1, _TILE - 1), _MISSED, 4)
        return np.hstack([whole, np.zeros_like(whole)])
    crop = face.crop.warp(picture)
    classes = parse_face(crop, networks.parsing)
    colours = class_colours(int(classes.max()) + 1)[classes]
    parsed = np.where((classes > 0)[..., None], cv2.addWeighted(crop, 1 - _LABEL_SHARE, colours, _LABEL_SHARE, 0), crop)
    return np.hstack([_with_face(picture, face), parsed])


def _with_face(picture: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    tile, scale = _fitted(picture)
    box = np.round(face.box * scale).astype(int).tolist()
    cv2.rectangle(tile, tuple(box[:2]), tuple(box[2:]), _FOUND, 1, cv2.LINE_AA)
    for point, confidence in zip(face.landmarks, face.confidence, strict=True):
        colour = _LEAST_COLOUR + confidence * (_MOST_COLOUR - _LEAST_COLOUR)
        # OpenCV puts pixel centres at whole numbers
        centre = np.round((point * scale - 0.5) * 2**_SHIFT).astype(int).tolist()
        cv2.circle(tile, centre, round(1.2 * 2**_SHIFT), colour.tolist(), -1, cv2.LINE_AA, _SHIFT)
    return tile


def _fitted(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """The picture in the upper left of a tile, and tile pixels per photo pixel."""
    scale = _TILE / max(picture.shape[:2])
    shape = [max(1, round(extent * scale)) for extent in picture.shape[1::-1]]
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile[: shape[1], : shape[0]] = cv2.resize(picture, shape, interpolation=method)
    return tile, scale
