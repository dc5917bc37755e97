"""Painted eyeballs: sclera, iris and pupil by the angle from the gaze direction."""

import numpy as np

SCLERA = np.array([0.62, 0.58, 0.55])
PUPIL = 0.004
IRIS_ANGLE, PUPIL_ANGLE = 24.5, 9.5  # degrees from the gaze axis, seen from the eyeball's centre
EYE_RADIUS = 14.2  # mm, of MakeHuman's eyeballs
FORWARD = (0.0, 0.0, 1.0)


def eye_centre(vertices: np.ndarray) -> np.ndarray:
    """Centre (3,) of an eyeball whose vertices (N, 3), mm, include its front: middle of the box, one radius behind."""
    low, high = vertices.min(0), vertices.max(0)
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[2] - EYE_RADIUS])


def eye_albedo(
    points: np.ndarray,
    centre: np.ndarray,
    iris: np.ndarray,
    gaze: tuple[float, float, float] | np.ndarray = FORWARD,
    softness: float = 1.2,
    lid_shadow: bool = True,
) -> np.ndarray:
    """Albedo (N, 3) float32, linear RGB, of eyeball points (N, 3), mm.

    centre: (3,) mm of the eyeball. iris: (3,) its colour. gaze: direction, any length. softness: degrees over which the
    rims of iris and pupil blend. lid_shadow: darken the part below the upper lid, which shading without occlusion would
    leave too bright.
    """
    direction = points - centre
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    axis = np.asarray(gaze, dtype=float) / np.linalg.norm(gaze)
    angle = np.degrees(np.arccos(np.clip(direction @ axis, -1, 1)))
    colour = np.broadcast_to(np.asarray(iris, dtype=float), direction.shape)
    in_iris = _step((IRIS_ANGLE - angle) / softness)[:, None]
    in_pupil = _step((PUPIL_ANGLE - angle) / softness)[:, None]
    limbus = np.exp(-0.5 * ((angle - IRIS_ANGLE) / 2.5) ** 2)[:, None]
    albedo = SCLERA * (1 - in_iris) + colour * in_iris * (1 - 0.6 * limbus)
    albedo = albedo * (1 - in_pupil) + PUPIL * in_pupil
    if lid_shadow:
        above = np.maximum(points[:, 1] - centre[1], 0)
        albedo = albedo * np.clip(1.05 - 0.02 * above**1.4, 0.35, 1)[:, None]
    return albedo.astype(np.float32)


def _step(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))
