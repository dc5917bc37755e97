"""Light from a photograph, given shape and albedo."""

import numpy as np
from numpy.typing import NDArray

from facerecon.geometry.spherical_harmonics import sh_basis

_BAND_STIFFNESS = np.array([0.02, 0.3, 0.3, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0])
_OUTLIER = 0.75  # of the weighted RMS residual: from there on a point counts less


def fit_light(
    colours: NDArray[np.float32],
    albedo: NDArray[np.float32],
    normals: NDArray[np.float32],
    weight: NDArray[np.float32],
    start: NDArray[np.float32],
    stiffness: float = 0.05,
    rounds: int = 6,
) -> NDArray[np.float32]:
    """Light of one colour (9, 3) = shading (9,) x colour (3,) under which an albedo shows given colours.

    colours, albedo: (N, 3) linear RGB. normals: (N, 3) unit, view frame. weight: (N,) >= 0. start: (9,) or (9, 1) white
    light whose shape the shading keeps where the points do not tell: each band is drawn to it by `stiffness`, relative
    to the data, the higher bands more.
    One colour for all directions, since a free colour a coefficient explains blushes and lips as coloured lamps.
    Points far off (highlights, cast shadows, hair) are weighted down in each of `rounds`, in which shading and colour
    are solved for in turn. Returns the start light where no point has weight.
    """
    weight, albedo = np.asarray(weight, np.float64), np.asarray(albedo, np.float64)
    colours, start = np.asarray(colours, np.float64), np.asarray(start, np.float64).reshape(9)
    if weight.sum() <= 0:
        return np.repeat(start[:, None], 3, axis=1).astype(np.float32)
    basis = sh_basis(np.asarray(normals, np.float64))
    robust = weight
    colour = _ratio(colours, albedo * np.maximum(basis @ start, 0.05)[:, None], weight)
    shading = start.copy()
    for _ in range(rounds):
        tinted = albedo * colour
        design = basis * np.sqrt((tinted**2).sum(1))[:, None]
        target = (tinted * colours).sum(1) / np.maximum(np.sqrt((tinted**2).sum(1)), 1e-9)
        weighted = design * robust[:, None]
        normal = weighted.T @ design
        ridge = np.diag(stiffness * _BAND_STIFFNESS * np.trace(normal) / 9.0 + 1e-12)
        shading = np.linalg.solve(normal + ridge, weighted.T @ target + ridge @ start)
        shaded = albedo * (basis @ shading)[:, None]
        colour = _ratio(colours, shaded, robust)
        residual = np.abs(shaded * colour - colours).mean(1)
        scale = _OUTLIER * np.sqrt((weight * residual**2).sum() / weight.sum()) + 1e-6
        robust = weight / (1.0 + (residual / scale) ** 2)
    return (shading[:, None] * colour).astype(np.float32)


def _ratio(colours: NDArray, shaded: NDArray, weight: NDArray) -> NDArray:
    """Least-squares factor a channel that takes `shaded` to `colours`."""
    weighted = weight[:, None] * shaded
    return np.maximum((weighted * colours).sum(0) / ((weighted * shaded).sum(0) + 1e-12), 1e-3)
