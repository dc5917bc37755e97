"""Real spherical harmonics up to order 2, the basis of diffuse lighting (Ramamoorthi and Hanrahan 2001)."""

import math

import numpy as np
import torch
from torch import Tensor

SH_CONSTANTS = (
    math.sqrt(1 / (4 * math.pi)),
    math.sqrt(3 / (4 * math.pi)),
    math.sqrt(3 / (4 * math.pi)),
    math.sqrt(3 / (4 * math.pi)),
    math.sqrt(15 / (4 * math.pi)),
    math.sqrt(15 / (4 * math.pi)),
    math.sqrt(5 / (16 * math.pi)),
    math.sqrt(15 / (4 * math.pi)),
    math.sqrt(15 / (16 * math.pi)),
)
"""Normalisation of 1, y, z, x, xy, yz, 3z^2-1, xz, x^2-y^2: .282095, .488603 (3 times), 1.092548, 1.092548, .315392,
1.092548, .546274."""


def sh_basis(normals: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The nine orthonormal real spherical harmonics of unit vectors.

    normals: (..., 3) unit vectors in the head-centred view frame (x right, y up, z toward the viewer); torch or numpy.
    Returns (..., 9) of the same kind, ordered 1, y, z, x, xy, yz, 3z^2-1, xz, x^2-y^2 times `SH_CONSTANTS`.
    Raises ValueError if the last dimension is not 3.
    """
    if normals.ndim < 1 or normals.shape[-1] != 3:
        raise ValueError(f"normals must be (..., 3), not {tuple(normals.shape)}")
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    one = torch.ones_like(x) if isinstance(normals, Tensor) else np.ones_like(x)
    polynomials = (one, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y)
    bands = [constant * polynomial for constant, polynomial in zip(SH_CONSTANTS, polynomials, strict=True)]
    return torch.stack(bands, -1) if isinstance(normals, Tensor) else np.stack(bands, -1)
