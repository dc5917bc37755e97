"""What the carried detector and its companions must do; skipped while the package carries no such weights."""

import numpy as np
import pytest
import skimage.data

from facerecon.errors import InputError
from facerecon.morphable.storage import face_model_sha256
from facerecon.networks.detector import detect_faces, load_detector
from facerecon.networks.landmarks import load_landmark_network, predict_landmarks
from facerecon.networks.parsing import load_parsing
from facerecon.networks.recognition import load_recognition
from facerecon.networks.weights import CARRIED_NAMES, carried_weights, load_weights, read_card
from facerecon.synthesis.backgrounds import SCENES, TEXTURES
from facerecon.training.tasks.backgrounds import MEASURING_PICTURES, TRAINING_PICTURES, VALIDATION_PICTURES
from facerecon.training.tasks.carry import MAX_BYTES

LOADERS = {
    "detector": load_detector,
    "landmarks": load_landmark_network,
    "parsing": load_parsing,
    "recognition": load_recognition,
}


def load_or_skip(name: str):
    try:
        carried_weights(name)
    except InputError:
        pytest.skip(f"the package carries no {name} weights yet")
    return LOADERS[name]()


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_card_says_what_it_is(name):
    load_or_skip(name)
    card = read_card(carried_weights(name))
    assert {"network", "settings", "training", "data", "commit", "face_model_sha256", "measured"} <= card.keys()
    assert card["measured"] and carried_weights(name).stat().st_size <= MAX_BYTES


def test_all_that_is_carried_is_small():
    sizes = {}
    for name in CARRIED_NAMES:
        try:
            sizes[name] = carried_weights(name).stat().st_size
        except InputError:
            pytest.skip(f"the package carries no {name} weights yet")
    assert max(sizes.values()) <= MAX_BYTES and sum(sizes.values()) <= 35_000_000, sizes


def test_carried_coefficients_are_refused_for_another_face_model():
    try:
        path = carried_weights("amplitude_phase")
    except InputError:
        pytest.skip("the package carries no amplitude_phase weights yet")
    load_weights(path, face_model_sha256=face_model_sha256(None))
    with pytest.raises(InputError, match="trained for face model"):
        load_weights(path, face_model_sha256="0" * 64)


def test_astronaut_is_found_and_the_rest_is_not():
    detector, landmarks = load_or_skip("detector"), load_or_skip("landmarks")
    found = detect_faces(skimage.data.astronaut(), detector, verifier=landmarks)
    assert len(found) >= 1
    x0, y0, x1, y1 = found[0].box
    assert abs((x0 + x1) / 2 - 222) < 20 and abs((y0 + y1) / 2 - 125) < 25 and 60 < y1 - y0 < 130
    # Neither backgrounds of training nor of choosing the threshold; rocket was, and shows that it was learned.
    left, right, _ = skimage.data.stereo_motorcycle()
    held_out = [left, right, left[:, ::-1], skimage.data.microaneurysms(), skimage.data.checkerboard()]
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for picture in (*held_out, np.full((300, 400, 3), 128, np.uint8), noise, skimage.data.rocket()):
        assert detect_faces(picture, detector, verifier=landmarks) == []


def test_held_out_pictures_are_held_out():
    """The pictures above that count as unseen are in no list that photographs or scenes are made from."""
    used = {*TRAINING_PICTURES, *VALIDATION_PICTURES, *MEASURING_PICTURES, *SCENES, *TEXTURES}
    assert "rocket" in TRAINING_PICTURES and used.isdisjoint(
        {"astronaut", "stereo_motorcycle", "microaneurysms", "checkerboard"}
    )


def test_astronaut_landmarks_lie_on_her_eyes_and_mouth():
    landmarks = load_or_skip("landmarks")
    points = predict_landmarks(skimage.data.astronaut(), [180, 85, 262, 172], landmarks).points
    truth = {"right eye": (slice(36, 42), (203, 101)), "left eye": (slice(42, 48), (247, 103))}
    for part, centre in truth.values():
        assert np.linalg.norm(points[part].mean(0) - centre) < 5
