"""What varies between photographs of one person: expression, pose, light, and what is worn or held."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.geometry.rotations import euler_to_matrix, matrix_to_euler
from facerecon.synthesis.expressions import sample_expression
from facerecon.synthesis.lighting import Light, sample_light
from facerecon.synthesis.occluders import sample_occluder
from facerecon.synthesis.randomness import chance

# How far the head turns against the body at most: pitch, yaw and roll in degrees.
NECK_RANGE = np.array([32.0, 58.0, 24.0])


@dataclass(frozen=True)
class Pose:
    """angles: (3,) pitch, yaw, roll, rad. distance: camera to head, mm. extent: larger side of the landmarks' box as a
    fraction of the image. shift: (2,) of the box centre from the image centre, fraction of the image."""

    angles: NDArray[np.float64]
    distance: float
    extent: float
    shift: NDArray[np.float64]


@dataclass(frozen=True)
class Occasion:
    """What varies between photographs of one person. occluder: a kind of `occluders.OCCLUDERS` or None."""

    expression: NDArray[np.float32]
    pose: Pose
    light: Light
    hat: bool = False
    glasses: bool = False
    occluder: str | None = None
    loose_hair: bool = False


def sample_pose(rng: Generator) -> Pose:
    """Half of the heads near frontal, half at any yaw up to 90 degrees; half level, half at pitches up to 50 degrees;
    close and far cameras."""
    yaw = np.clip(rng.normal(0.0, 22.0), -90.0, 90.0) if chance(rng, 0.5) else rng.uniform(-90.0, 90.0)
    pitch = np.clip(rng.normal(0.0, 9.0) if chance(rng, 0.5) else rng.normal(0.0, 23.0), -50.0, 50.0)
    roll = np.clip(rng.normal(0.0, 8.0 if chance(rng, 0.6) else 17.0), -40.0, 40.0)
    return Pose(
        np.radians([pitch, yaw, roll]),
        float(np.exp(rng.uniform(np.log(380.0), np.log(2500.0)))),
        rng.uniform(0.40, 0.72),
        rng.uniform(-0.10, 0.10, 2),
    )


def sample_occasion(rng: Generator, names: list[str]) -> Occasion:
    """Anything that a photograph in the wild may show. names: of the expression's weights."""
    return Occasion(
        expression=sample_expression(rng, names),
        pose=sample_pose(rng),
        light=sample_light(rng),
        hat=chance(rng, 0.12),
        glasses=chance(rng, 0.24),
        occluder=sample_occluder(rng),
        loose_hair=chance(rng, 0.07),
    )


def sample_body_turn(rng: Generator, angles: NDArray) -> NDArray[np.float32]:
    """(3, 3) rotation of the body against a head that is turned by `angles` (3,), rad, against the camera.

    The body follows the head in part: a head in profile may sit on a body in profile or look over a shoulder; roll and
    pitch of a head come mostly from its neck, or from a camera held high, low or askew.
    """
    head = np.degrees(angles)
    body = head * [rng.uniform(0.0, 0.8), rng.uniform(0.3, 1.1), rng.uniform(0.0, 0.7)] + rng.normal(
        0.0, [5.0, 12.0, 3.0]
    )
    body = np.clip(body, head - NECK_RANGE, head + NECK_RANGE)
    rotations = euler_to_matrix(torch.as_tensor(np.radians(np.stack([head, body])))).numpy()
    relative = matrix_to_euler(torch.as_tensor(rotations[0].T @ rotations[1])).numpy()
    limit = np.radians(NECK_RANGE)
    return euler_to_matrix(torch.as_tensor(np.clip(relative, -limit, limit))).numpy().astype(np.float32)
