"""Facial regions of the open face model's vertices."""

import numpy as np
from scipy.spatial import cKDTree

from facerecon.morphable.skin import brow_line, brow_map
from facerecon.morphable.topology import REGIONS

CLAIM_ORDER = ("eyes", "brows", "lips", "nose", "ears", "forehead", "skin")  # of two names, a vertex takes the first

LID_RIM = 4.0  # mm from the lids' edge that still count as eye
BROW_STRENGTH = 0.3
LEAST_MASK = 0.5
LEAST_EAR_MASK = 0.25
FOREHEAD_GAP = 4.0  # mm between the brows' centre line and the forehead

# Half-width of the nose over height, and how far forward its points lie, on the template (mm, head frame).
NOSE_HEIGHT = np.array([-13.0, -10.0, -4.0, 4.0, 18.0, 34.0, 42.0])
NOSE_HALF_WIDTH = np.array([9.0, 17.0, 20.0, 16.0, 11.0, 8.0, 7.0])
NOSE_DEPTH = -5.0


def region_masks(
    points: np.ndarray, is_skin: np.ndarray, lips: np.ndarray, ears: np.ndarray, lid_edges: np.ndarray
) -> dict[str, np.ndarray]:
    """Name -> (V,) bool for the names of REGIONS; each vertex is in exactly one.

    points: (V, 3) template coordinates, mm. is_skin: (V,) bool, False on the eyeballs. lips, ears: (V,) masks in
    [0, 1]. lid_edges: ids of the skin vertices on the lids' edges.
    """
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    lid_distance, _ = cKDTree(points[lid_edges]).query(points)
    in_nose_height = (y > NOSE_HEIGHT[0]) & (y < NOSE_HEIGHT[-1])
    claims = {
        "eyes": ~is_skin | (lid_distance < LID_RIM),
        "brows": brow_map(points) > BROW_STRENGTH,
        "lips": lips > LEAST_MASK,
        "nose": in_nose_height & (x < np.interp(y, NOSE_HEIGHT, NOSE_HALF_WIDTH)) & (z > NOSE_DEPTH),
        "ears": ears > LEAST_EAR_MASK,
        "forehead": y > brow_line(x) + FOREHEAD_GAP,
    }
    free = np.ones(len(points), dtype=bool)
    regions = {}
    for name, claim in claims.items():
        regions[name] = claim & free
        free = free & ~claim
    regions["skin"] = free
    return {name: regions[name] for name in REGIONS}


def symmetric_regions(regions: dict[str, np.ndarray], mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Regions (V,) bool that part the vertices, made exact mirror images of themselves; mirror: (V,) mirror map.

    The source's pictures of lips and ears are off by a vertex here and there: of a vertex and its image the one whose
    region comes first in CLAIM_ORDER gives both theirs.
    """
    rank = np.full(len(mirror), len(CLAIM_ORDER))
    for k, name in enumerate(CLAIM_ORDER):
        rank[regions[name]] = k
    rank = np.minimum(rank, rank[mirror])
    return {name: rank == CLAIM_ORDER.index(name) for name in regions}
