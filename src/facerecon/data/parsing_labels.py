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


def mirror_labels(labels: np.ndarray) -> np.ndarray:
    """Label map (..., H, W) of the mirrored picture: columns reversed, left and right classes exchanged."""
    return np.asarray(MIRRORED, dtype=np.asarray(labels).dtype)[labels][..., ::-1]
