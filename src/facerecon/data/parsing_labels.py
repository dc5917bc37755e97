"""The 19 face parsing classes of CelebAMask-HQ (Lee et al. 2020), in the order BiSeNet's published weights use.

"l_" and "r_" are the subject's own left and right: in an unmirrored photograph of a frontal face `l_eye` lies on the
image's right.
"""

import numpy as np

PARSING_CLASSES: tuple[str, ...] = (
    "background",
    "skin",
    "l_brow",
    "r_brow",
    "l_eye",
    "r_eye",
    "eye_g",
    "l_ear",
    "r_ear",
    "ear_r",
    "nose",
    "mouth",
    "u_lip",
    "l_lip",
    "neck",
    "neck_l",
    "cloth",
    "hair",
    "hat",
)

MIRRORED: tuple[int, ...] = (0, 1, 3, 2, 5, 4, 6, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Class that each class becomes when the picture is mirrored."""

FACE_CLASSES: tuple[int, ...] = (1, 2, 3, 4, 5, 10, 11, 12, 13)
"""Classes of bare facial surface: skin, brows, eyes, nose, mouth and lips; no glasses, ears, neck or hair."""

PARSING_COLOURS: np.ndarray = np.array(
    [
        (0, 0, 0),
        (236, 188, 160),
        (120, 70, 20),
        (160, 100, 30),
        (40, 120, 230),
        (60, 180, 250),
        (255, 0, 255),
        (230, 120, 110),
        (200, 90, 140),
        (255, 215, 0),
        (250, 150, 90),
        (120, 0, 40),
        (220, 40, 60),
        (180, 20, 80),
        (200, 150, 120),
        (180, 180, 60),
        (70, 110, 90),
        (90, 60, 160),
        (0, 150, 150),
    ],
    dtype=np.uint8,
)
"""(19, 3) sRGB colour of each class in pictures."""


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """Picture of a label map.

    labels: (H, W) classes 0..18. Returns (H, W, 3) uint8 sRGB. Raises ValueError on a class outside the table.
    """
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() >= len(PARSING_CLASSES)):
        raise ValueError(f"parsing labels must lie in 0..18, not {labels.min()}..{labels.max()}")
    return PARSING_COLOURS[labels]


def mirror_labels(labels: np.ndarray) -> np.ndarray:
    """Label map (..., H, W) of the mirrored picture: columns reversed, left and right classes exchanged."""
    return np.asarray(MIRRORED, dtype=np.asarray(labels).dtype)[labels][..., ::-1]
