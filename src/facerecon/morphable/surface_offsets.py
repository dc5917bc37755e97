"""Smooth offsets that move a fitted face model's vertices onto a scan, by sparse linear solves while stiffness falls.

After Amberg et al. 2007 (optimal step non-rigid ICP), with a thin-plate energy of the offsets in place of affine maps.
"""

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from facerecon.geometry.barycentric import interpolation_matrix
from facerecon.geometry.laplacian import cotangent_laplacian, vertex_areas
from facerecon.morphable.model_fit import FittedModel, Targets
from facerecon.morphable.scan_surface import ScanSurface
from facerecon.morphable.surface_matching import interpolate_scales, match_vertices, robust_weights

STIFFNESS_LENGTHS = (24.0, 16.0, 11.0, 8.0, 5.5, 4.0, 3.0, 2.5)
"""Lengths in mm below which offsets are smoothed, one a level, coarse to fine."""
SOLVES_A_LEVEL = 2
OFFSET_SCALES = (5.0, 1.5)
"""First and last robust scale, mm."""

_LANDMARK_AREA = 20.0  # mm^2 of surface that a landmark counts for at the first level
_TETHER = 1e-4  # pull of the offsets towards 0 against the data's: holds parts that see no scan


def fit_offsets(
    model: FittedModel, fitted: NDArray, exposed: NDArray, surface: ScanSurface, targets: Targets
) -> NDArray[np.float64]:
    """Vertices (N, 3) of the fit moved onto the scan by smooth offsets, which the `exposed` (N,) ones draw.

    Each solve minimises sum_i m_i w_i |x_i - c_i|^2 + length^4 |M^-1/2 L (x - fitted)|^2 with areas m, closest points
    c, robust weights w and the cotangent Laplacian L: offsets longer than `length` pass, shorter ones are smoothed out,
    whatever the mesh's density. Closest points lie along the normal, so that vertices slide only as smoothness asks.
    """
    areas = vertex_areas(fitted, model.triangles)
    areas = np.maximum(areas, 1e-3 * areas.mean())
    laplacian = cotangent_laplacian(fitted, model.triangles)
    thin_plate = (laplacian @ sparse.diags(1 / areas) @ laplacian).tocsc()
    marks = interpolation_matrix(model.landmark_corners, model.landmark_weights, len(fitted))
    moved, everywhere = fitted, np.arange(len(fitted))
    for level, length in enumerate(STIFFNESS_LENGTHS):
        progress = level / (len(STIFFNESS_LENGTHS) - 1)
        scale = interpolate_scales(OFFSET_SCALES, progress)
        pull = marks.T @ sparse.diags(targets.weights * _LANDMARK_AREA * (1 - progress))
        for _ in range(SOLVES_A_LEVEL):
            found, accepted = match_vertices(surface, moved, model.triangles, everywhere, scale)
            weights = areas * robust_weights(found.distances, scale) * (accepted & exposed)
            system = sparse.diags(weights + _TETHER * areas) + length**4 * thin_plate + pull @ marks
            right = weights[:, None] * (found.points - fitted) + pull @ (targets.points - marks @ fitted)
            # Positive definite: without pivoting, which would fill the factors.
            symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
            factors = splu(system.tocsc(), **symmetric)
            moved = fitted + factors.solve(right)
    return moved
