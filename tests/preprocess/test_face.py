"""Choosing and placing the face of a photograph."""

from types import SimpleNamespace

import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.preprocess.face import FaceFinder, find_face, main_face

MEAN = np.random.default_rng(0).normal(size=(68, 3)) * (35, 40, 20)
PHOTO = np.zeros((200, 300, 3), np.uint8)


def box(*edges: float) -> SimpleNamespace:
    return SimpleNamespace(box=np.array(edges, np.float32), score=0.7)


def finder(*boxes: SimpleNamespace, points: np.ndarray | None = None) -> FaceFinder:
    def predict(image, given):
        centre, size = (given[:2] + given[2:]) / 2, (given[2] - given[0]) / 150
        found = centre + size * MEAN[:, :2] * (1, -1) if points is None else points
        return SimpleNamespace(points=found, expected_error=np.ones(68), confidence=np.full(68, 0.5))

    return FaceFinder(lambda image: list(boxes), predict)


def test_the_largest_face_is_taken_and_the_others_counted():
    face = find_face(PHOTO, finder(box(10, 10, 40, 40), box(100, 50, 180, 140)), MEAN)
    assert face.box.tolist() == [100, 50, 180, 140] and face.faces == 2 and face.score == pytest.approx(0.7)
    centre = face.crop.to_crop(face.landmarks.mean(0) - face.landmarks.mean(0) + [140, 95])
    assert np.abs(centre - 112).max() < 25


def test_a_central_face_wins_over_one_little_larger_at_the_corner():
    central, corner = np.array([120, 70, 180, 130.0]), np.array([235, 0, 300, 65.0])
    assert main_face([corner, central], PHOTO.shape) == 1
    assert main_face([np.array([160, 0, 300, 140.0]), central], PHOTO.shape) == 0


def test_a_given_box_is_used_without_detection():
    face = find_face(PHOTO, finder(), MEAN, box=(50, 60, 110, 130))
    assert face.box.tolist() == [50, 60, 110, 130] and face.faces == 1 and face.score == 1.0


def test_what_cannot_be_a_face_is_refused():
    with pytest.raises(InputError, match="no face was found"):
        find_face(PHOTO, finder(), MEAN)
    with pytest.raises(InputError, match="degenerate"):
        find_face(PHOTO, finder(box(10, 10, 50, 50), points=np.full((68, 2), 20.0)), MEAN)
    for edges, words in (
        ((10, 10, 10, 50), "no area"),
        ((400, 10, 450, 50), "outside"),
        ((np.nan, 0, 1, 1), "no area"),
    ):
        with pytest.raises(InputError, match=words):
            find_face(PHOTO, finder(), MEAN, box=edges)
