"""Coloured light from a photograph, given shape and albedo."""

import numpy as np
from numpy.typing import NDArray

from facerecon.geometry.spherical_harmonics import sh_basis


def fit_light(
    colours: NDArray[np.float32],
    albedo: NDArray[np.float32],
    normals: NDArray[np.float32],
    weight: NDArray[np.float32],
    start: NDArray[np.float32],
    stiffness: float = 0.02,
    rounds: int = 4,
) -> NDArray[np.float32]:
    """Spherical-harmonic light (9, 3) under which an albedo shows given colours: robust ridge regression a channel.

    colours, albedo: (N, 3) linear RGB. normals: (N, 3) unit, view frame. weight: (N,) >= 0. start: (9, 3), towards which
    the light is drawn by `stiffness` (relative to the data). Points far off (highlights, cast shadows, hair) are
    weighted down in each of `rounds`. Returns `start` itself where no point has weight.
    """
    basis = sh_basis(np.asarray(normals, np.float64))
    light = np.asarray(start, np.float64).copy()
    colours, albedo = np.asarray(colours, np.float64), np.asarray(albedo, np.float64)
    weight = np.asarray(weight, np.float64)
    if weight.sum() <= 0:
        return light.astype(np.float32)
    for channel in range(3):
        design = albedo[:, channel, None] * basis
        robust = weight
        for _ in range(rounds):
            weighted = design * robust[:, None]
            normal = weighted.T @ design
            ridge = stiffness * np.trace(normal) / 9.0 + 1e-9
            right = weighted.T @ colours[:, channel] + ridge * np.asarray(start, np.float64)[:, channel]
            light[:, channel] = np.linalg.solve(normal + ridge * np.eye(9), right)
            residual = np.abs(design @ light[:, channel] - colours[:, channel])
            scale = 1.5 * np.sqrt((weight * residual**2).sum() / weight.sum()) / 2.0 + 1e-6
            robust = weight / (1.0 + (residual / scale) ** 2)
    return light.astype(np.float32)
