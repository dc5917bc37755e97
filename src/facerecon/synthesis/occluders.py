"""Things between the camera and the face, drawn onto the finished picture: blobs, rods, hands' colours, loose hair."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.backgrounds import value_noise
from facerecon.synthesis.head_surface import CLASS
from facerecon.synthesis.randomness import chance


def draw_occluder(
    rng: Generator, image: NDArray[np.float32], labels: NDArray[np.uint8], skin: NDArray, face_box: NDArray
) -> NDArray[np.float32]:
    """One object over the face: a soft-edged polygon or rod, skin-coloured in 40 % of cases (hands).

    image: (S, S, 3) sRGB; labels: (S, S), set to background in place. skin: (3,) sRGB. face_box: x0, y0, x1, y1 pixels.
    """
    size = image.shape[0]
    face = float(max(face_box[2:] - face_box[:2]))
    mask = np.zeros((size, size), np.float32)
    if chance(rng, 0.3):
        ends = rng.uniform(face_box[:2] - 0.2 * face, face_box[2:] + 0.2 * face, (2, 2)).astype(int)
        cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 1.0, int(face * rng.uniform(0.02, 0.14)) + 1, cv2.LINE_AA)
    else:
        centre = rng.uniform(face_box[:2], face_box[2:])
        corners = int(rng.integers(5, 14))
        angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, corners))
        radius = face * rng.uniform(0.07, 0.25) * rng.uniform(0.3, 1.0, 2)
        ring = np.stack([np.cos(angle), np.sin(angle)], 1) * radius * rng.uniform(0.6, 1.4, (corners, 1))
        cv2.fillPoly(mask, [(centre + ring).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 3.0) * size / 256.0)
    colour = rng.random(3) if chance(rng, 0.6) else np.clip(skin * rng.uniform(0.7, 1.4), 0.0, 1.0)
    texture = colour * (0.7 + 0.6 * value_noise(rng, size, int(rng.integers(2, 20)), 1))
    labels[mask > 0.5] = CLASS["background"]
    return (image * (1.0 - mask[..., None]) + texture * mask[..., None]).astype(np.float32)


def draw_loose_hair(rng: Generator, image: NDArray[np.float32], labels: NDArray[np.uint8], colour: NDArray) -> None:
    """Single strands from above, in place; colour: (3,) sRGB."""
    size = image.shape[0]
    start = rng.uniform(0.0, size)
    drawn = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(3, 30)):
        x = start + rng.normal(0.0, size * 0.12)
        t = np.linspace(0.0, 1.0, 8)
        strand = np.stack([x + t**2 * rng.normal(0.0, size * 0.2), t * size * rng.uniform(0.3, 1.0)], 1)
        width = int(rng.integers(1, 3))
        cv2.polylines(
            image, [strand.astype(np.int32)], False, (colour * rng.uniform(0.6, 1.4)).tolist(), width, cv2.LINE_AA
        )
        cv2.polylines(drawn, [strand.astype(np.int32)], False, 1, width)
    labels[drawn > 0] = CLASS["hair"]
