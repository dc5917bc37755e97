"""The class table is consistent with itself under mirroring."""

import numpy as np

from facerecon.data.parsing_labels import (
    FACE_CLASSES,
    MIRRORED,
    PARSING_CLASSES,
    mirror_labels,
)


def test_mirroring_exchanges_exactly_the_sided_classes():
    for name, image in zip(PARSING_CLASSES, MIRRORED, strict=True):
        sided = name in {"l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear"}
        expected = {"l": "r", "r": "l"}[name[0]] + name[1:] if sided else name
        assert PARSING_CLASSES[image] == expected


def test_mirroring_twice_changes_nothing():
    labels = np.random.default_rng(0).integers(0, 19, (3, 5, 7)).astype(np.uint8)
    assert np.array_equal(mirror_labels(mirror_labels(labels)), labels)
    assert mirror_labels(np.array([[4, 0]], np.uint8)).tolist() == [[0, 5]]


def test_face_classes_hold_no_occluder():
    names = {PARSING_CLASSES[k] for k in FACE_CLASSES}
    assert names.isdisjoint({"eye_g", "hair", "hat", "cloth", "neck", "background"})
