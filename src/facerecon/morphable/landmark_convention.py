"""The 68 iBUG landmarks in the 300W-LP convention, carried over from the BFM mean face to another face mesh.

The published mean positions (`assets/landmarks68_bfm_mean.csv`) are laid onto the face by a similarity fitted to the
landmarks of eyes, nose and mouth whose places on the mesh are known (`assets/landmark_anchors.json`); a smooth warp
then makes these anchors meet, and every landmark goes to the nearest point of the skin. What no feature of the mesh
marks follows the warp: jaw and brows, and the tip and wings of the nose. The foremost vertex lies 4 mm below that tip,
and the widest vertices 6 mm beside the wings.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh
from scipy.interpolate import RBFInterpolator

from facerecon.geometry.alignment import similarity_procrustes
from facerecon.morphable.topology import MIRRORED_LANDMARKS

ASSETS = Path(__file__).parent / "assets"
WARP_SMOOTHING = 1.0
NEAR_TRIANGLES = 256  # candidates, by centroid, for the triangle nearest to a landmark


def published_mean_landmarks() -> np.ndarray:
    """Mean positions (68, 3) of the landmarks on the BFM face (300W-LP convention), about 100 mm a unit.

    x to the subject's left, y up, z out of the face. Source: Deng et al. 2019, file similarity_Lm3D_all.mat.
    """
    return np.loadtxt(ASSETS / "landmarks68_bfm_mean.csv", delimiter=",", comments="#", skiprows=2)[:, 1:]


def anchor_vertices() -> dict[int, list[int]]:
    """MakeHuman vertex ids of the anchors, by iBUG landmark; an anchor is the mean of its one or two vertices."""
    vertices = json.loads((ASSETS / "landmark_anchors.json").read_text())["vertices"]
    return {int(landmark): ids for landmark, ids in vertices.items()}


def transfer_landmarks(anchors: Mapping[int, np.ndarray]) -> np.ndarray:
    """Targets (68, 3) near the skin for the landmarks, symmetric in x = 0.

    anchors: (3,) mm each, of a symmetric face in the head frame, by iBUG landmark.
    """
    published = published_mean_landmarks()
    known, places = list(anchors), np.stack(list(anchors.values()))
    laid = similarity_procrustes(published[known], places).apply(published)
    warp = RBFInterpolator(laid[known], places - laid[known], kernel="linear", smoothing=WARP_SMOOTHING)
    targets = laid + warp(laid)
    return (targets + targets[MIRRORED_LANDMARKS] * [-1, 1, 1]) / 2


def embed_landmarks(
    targets: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Triangle ids (68,) and barycentrics (68, 3) of a symmetric mesh's points nearest to symmetric targets (68, 3).

    The subject's right half is found and mirrored to the left, so that the embedding is exactly symmetric.
    """
    index, weights = np.zeros(68, dtype=np.int64), np.zeros((68, 3))
    triangle_of = {tuple(sorted(triangle)): k for k, triangle in enumerate(triangles.tolist())}
    centroids = vertices[triangles].mean(1)
    for k, target in enumerate(targets):
        other = MIRRORED_LANDMARKS[k]
        if target[0] > 1e-9 and other != k:
            continue
        near = np.argsort(np.linalg.norm(centroids - target, axis=1), kind="stable")[:NEAR_TRIANGLES]
        points = trimesh.triangles.closest_point(vertices[triangles[near]], np.tile(target, (len(near), 1)))
        best = np.linalg.norm(points - target, axis=1).argmin()
        index[k] = near[best]
        corners = vertices[triangles[near[best]]]
        weights[k] = trimesh.triangles.points_to_barycentric(corners[None], points[best][None])[0].clip(0, 1)
        if other == k:  # rounding must not move it off the mirror plane
            weights[k] *= mirror[triangles[index[k]]] == triangles[index[k]]
        weights[k] /= weights[k].sum()
        if other != k:
            mirrored = mirror[triangles[index[k]]]
            index[other] = triangle_of[tuple(sorted(mirrored.tolist()))]
            order = [mirrored.tolist().index(vertex) for vertex in triangles[index[other]]]
            weights[other] = weights[k][order]
    return index, weights
