"""The jaw's landmarks where a turned head shows them: on the silhouette, and not where the frontal jaw was.

The 68 landmarks of 3D annotations stay on the same surface points. Detectors that look at pictures put the jaw's points
of the far side onto the outline of the cheek instead. As in landmark marching (Zhu et al. 2015, "High-fidelity pose and
expression normalization", section 3.2), each of the jaw's points may slide along a row of the surface: here the
horizontal section of the mean face from the point towards the midline, to where the nose, the lips or an eye begin.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.mesh_regions import loss_regions
from facerecon.morphable.topology import MovingContour

JAW = 17  # landmarks 0 to 16; 8 is the chin
LEVEL = 0.5  # mm; of candidates that show this near to the outermost, the one nearest to the fixed point is taken
CANDIDATE_GAP = 0.5  # mm between the candidates of a row, at least
TABLE_YAW = np.arange(-90.0, 91.0, 3.0)  # degrees of `moving_contour`


@dataclass(frozen=True)
class ContourRows:
    """Candidates for each of the 17 jaw points, K at most a row; rows that have fewer repeat their first.

    The first candidate is the fixed landmark, the others follow it towards the midline.
    triangles: (17, K) int64 of the model's mesh; barycentric: (17, K, 3) float32.
    """

    triangles: NDArray[np.int64]
    barycentric: NDArray[np.float32]


def contour_rows(model: FaceModel) -> ContourRows:
    """Rows of candidates on a model's mean face, mirror images of each other where its mesh is symmetric.

    The chin's row is the chin alone.
    """
    topology = model.topology
    mean = model.mean.double().numpy(force=True)
    regions = loss_regions(topology)
    barred = regions["eye"] | regions["nose"] | regions["mouth"]
    rows = []
    for k in range(JAW):
        fixed = topology.landmark_triangles[k], topology.landmark_barycentric[k]
        point = mean[topology.triangles[fixed[0]]].T @ fixed[1]
        if k == JAW // 2:
            rows.append((np.array([fixed[0]]), np.array([fixed[1]])))
            continue
        triangles, barycentric = _section(mean, topology.triangles, barred, point, -1.0 if k < JAW // 2 else 1.0)
        rows.append((np.append(fixed[0], triangles), np.concatenate([[fixed[1]], barycentric])))
    most = max(len(triangles) for triangles, _ in rows)
    pick = [np.where(np.arange(most) < len(triangles), np.arange(most), 0) for triangles, _ in rows]
    return ContourRows(
        triangles=np.stack([row[0][ids] for row, ids in zip(rows, pick, strict=True)]).astype(np.int64),
        barycentric=np.stack([row[1][ids] for row, ids in zip(rows, pick, strict=True)]).astype(np.float32),
    )


def contour_landmarks(model: FaceModel, vertices: Tensor, rotation: Tensor, rows: ContourRows | None = None) -> Tensor:
    """The 68 landmarks (B, 68, 3) of vertices (B, V, 3), mm in the head frame, with the jaw's at the silhouette.

    rotation: (B, 3) pitch, yaw, roll, rad. rows: as `contour_rows` gives them. Without rows a model whose publisher has
    a table of its own (`FaceModel.contour`) takes the jaw of that table's nearest yaw; for other models the rows are
    worked out anew. Of each jaw point on the side turned away rows give the candidate that shows outermost, seen from
    far away; the other side's points, the chin and the other landmarks are the fixed ones. Differentiable in the
    vertices, not in the choice.
    """
    if rows is None and model.contour is not None:
        jaw = _published_jaw(model, model.contour, vertices, rotation)
        return torch.cat([jaw, model.landmarks(vertices)[:, JAW:]], 1)
    rows = contour_rows(model) if rows is None else rows
    triangles = torch.as_tensor(model.topology.triangles[rows.triangles].astype(np.int64), device=vertices.device)
    weights = torch.as_tensor(rows.barycentric, device=vertices.device, dtype=vertices.dtype)
    candidates = (vertices[:, triangles] * weights[..., None]).sum(-2)  # (B, 17, K, 3)
    across = euler_to_matrix(rotation)[:, 0]
    side = torch.sign(torch.arange(JAW, device=vertices.device) - JAW // 2)
    outward = (candidates @ across[:, None, :, None]).squeeze(-1) * side[:, None]
    chosen = (outward >= outward.amax(-1, keepdim=True) - LEVEL).int().argmax(-1)  # the first such
    far = side * rotation[:, 1:2] > 0
    chosen = torch.where(far, chosen, 0)
    jaw = candidates.gather(2, chosen[..., None, None].expand(-1, -1, 1, 3)).squeeze(2)
    return torch.cat([jaw, model.landmarks(vertices)[:, JAW:]], 1)


def moving_contour(model: FaceModel) -> MovingContour:
    """Table by yaw of the jaw points that `contour_landmarks` chooses on the mean face, as FLAME's files have one."""
    rows = contour_rows(model)
    corners = model.mean.double().numpy(force=True)[model.topology.triangles[rows.triangles]]
    places = (corners * rows.barycentric[..., None]).sum(-2)
    angle = np.radians(TABLE_YAW)[:, None, None]
    side = np.sign(np.arange(JAW) - JAW // 2)
    outward = (np.cos(angle) * places[..., 0] + np.sin(angle) * places[..., 2]) * side[:, None]
    outermost = (outward >= outward.max(-1, keepdims=True) - LEVEL).argmax(-1)
    chosen = np.where(side * TABLE_YAW[:, None] > 0, outermost, 0)
    row = np.arange(JAW)
    return MovingContour(TABLE_YAW.copy(), rows.triangles[row, chosen], rows.barycentric[row, chosen])


def _published_jaw(model: FaceModel, table: MovingContour, vertices: Tensor, rotation: Tensor) -> Tensor:
    """The jaw's points (B, 17, 3) of a table at the yaw nearest to each rotation (B, 3)."""
    yaw = torch.as_tensor(table.yaw_degrees, device=vertices.device, dtype=torch.float64)
    place = (torch.rad2deg(rotation[:, 1:2].detach().double()) - yaw).abs().argmin(1).cpu().numpy()
    corners = torch.as_tensor(model.topology.triangles[table.triangles[place]].astype(np.int64), device=vertices.device)
    weights = torch.as_tensor(table.barycentric[place], device=vertices.device, dtype=vertices.dtype)
    each = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[each, corners] * weights[..., None]).sum(-2)


def _section(
    mean: NDArray, triangles: NDArray, barred: NDArray, point: NDArray, side: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Points where the plane of constant height through `point` (3,) crosses the mesh's edges, from it inwards.

    barred: (V,) bool, the vertices that end a row. side: sign of the point's x. Returns triangles (n,) and
    barycentrics (n, 3), thinned out.
    """
    height = mean[:, 1] - point[1]
    index, places, weights = [], [], []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        first, second = triangles[:, a], triangles[:, b]
        crossing = np.flatnonzero((height[first] > 0) != (height[second] > 0))
        share = height[first[crossing]] / (height[first[crossing]] - height[second[crossing]])
        weight = np.zeros((len(crossing), 3))
        weight[:, a], weight[:, b] = 1 - share, share
        index.append(crossing)
        weights.append(weight)
        places.append((mean[triangles[crossing]] * weight[..., None]).sum(1))
    index, weights, places = np.concatenate(index), np.concatenate(weights), np.concatenate(places)
    across = side * places[:, 0]
    ends = across[barred[triangles[index]].any(1)]
    limit = max(0.0, ends[ends < side * point[0]].max(initial=0.0))
    keep = np.flatnonzero((across < side * point[0]) & (across > limit) & (places[:, 2] > point[2]))
    keep = keep[np.argsort(-across[keep], kind="stable")]
    chosen, last = [], point
    for k in keep:  # a few hundred points a row
        if np.linalg.norm(places[k] - last) >= CANDIDATE_GAP:
            chosen.append(k)
            last = places[k]
    return index[chosen], weights[chosen]
