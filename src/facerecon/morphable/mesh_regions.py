"""Regions that weight the vertices of a face in mesh losses, and named crops of it for evaluation."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.topology import Topology

# K_mask of Xu et al. (WWW '24, eq. 4) weights "different areas of the face (e.g., eye, nose, forehead, mouth)"; they
# print no numbers. Ours follow MICA's practice: the face's skin high, what moves apart from identity next to nothing.
LOSS_REGIONS = ("eye", "nose", "forehead", "mouth", "rest")
LOSS_WEIGHTS: Mapping[str, float] = {"eye": 0.01, "nose": 150.0, "forehead": 150.0, "mouth": 150.0, "rest": 150.0}

# Rules of the crops on the mean face; lengths in mm.
FLAME_FOREHEAD = 100.0  # height above the landmarks' mean at which the hairline is taken to lie
FLAME_DEPTH = -62.0  # the cheeks end here, a finger in front of the ears
BFM_RADIUS = 95.0  # from the tip of the nose: the crop in which scans are compared (Genova et al. 2018, section 5)
NOSE_TIP = 30  # iBUG landmark
CROPS = ("face", "skin", "flame_face", "bfm_face")


def loss_regions(topology: Topology) -> dict[str, NDArray[np.bool_]]:
    """Name -> (V,) bool for LOSS_REGIONS, which part the vertices: each is in exactly one, as is its mirror image.

    eye: eyeballs and lid edges; nose, forehead: as the topology's; mouth: the lips; rest: all other vertices, which are
    cheeks, chin, brows and the skin about the eyes.
    """
    regions = topology.regions
    claims = {
        "eye": regions["eyes"],
        "nose": regions["nose"],
        "forehead": regions["forehead"],
        "mouth": regions["lips"],
    }
    rest = ~np.any(list(claims.values()), axis=0)
    return {**claims, "rest": rest}


def loss_weights(topology: Topology, weights: Mapping[str, float] = LOSS_WEIGHTS) -> NDArray[np.float32]:
    """K_mask: the weight (V,) of each vertex, by the region that holds it. ValueError if a region has no weight."""
    missing = sorted(set(LOSS_REGIONS) ^ set(weights))
    if missing:
        raise ValueError(f"one weight for each of {', '.join(LOSS_REGIONS)} is needed; see {', '.join(missing)}")
    masks = loss_regions(topology)
    return sum(np.float32(weights[name]) * masks[name].astype(np.float32) for name in LOSS_REGIONS)


def crop(model: LinearFaceModel, name: str) -> NDArray[np.bool_]:
    """A named part of the face (V,) bool, its own mirror image, decided on the mean face so that it suits every face.

    face: all vertices. skin: without the eyeballs. flame_face: like the "face" mask of FLAME's mesh, skin from the
    hairline to below the chin and back to the ears, without eyeballs and ears. bfm_face: like the face of the Basel
    model within 95 mm of the nose's tip, eyeballs included. These follow the publishers' in extent, not vertex by
    vertex. Raises ValueError for another name.
    """
    if name not in CROPS:
        raise ValueError(f"no crop {name!r}; there are {', '.join(CROPS)}")
    mean, topology = model.mean.double().numpy(force=True), model.topology
    mean = (mean + mean[topology.mirror] * [-1, 1, 1]) / 2
    skin = ~on_eyeballs(model)
    if name == "face":
        return np.ones(len(mean), dtype=bool)
    if name == "skin":
        return skin
    if name == "flame_face":
        return skin & ~topology.regions["ears"] & (mean[:, 1] < FLAME_FOREHEAD) & (mean[:, 2] > FLAME_DEPTH)
    tip = model.landmarks(model.mean[None])[0, NOSE_TIP].double().numpy(force=True) * [0, 1, 1]
    return np.linalg.norm(mean - tip, axis=1) < BFM_RADIUS


def on_eyeballs(model: LinearFaceModel) -> NDArray[np.bool_]:
    """(V,) True on the model's half eyeballs, which hang together with no other vertex."""
    triangles, size = model.topology.triangles, len(model.topology.uv)
    pairs = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)
    links = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, label = connected_components(links, directed=False)
    coarse = label[: len(model.coarse.is_skin)]  # coarse vertices lead
    return np.isin(label, coarse[~model.coarse.is_skin])
