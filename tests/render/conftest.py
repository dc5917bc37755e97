import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull, Delaunay


@pytest.fixture
def closed_mesh():
    """A function making B views of one closed convex mesh: (vertices_pixels (B, V, 3) float32, triangles)."""

    def make(seed, batch=1, vertices=60, size=32, radius=0.45):
        rng = np.random.default_rng(seed)
        sphere = rng.normal(size=(vertices, 3))
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
        triangles = ConvexHull(sphere).simplices.astype(np.int32)
        corners = sphere[triangles]
        outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        inward = (outward * corners.mean(1)).sum(1) < 0
        triangles[inward] = triangles[inward][:, ::-1]
        views = []
        for _ in range(batch):
            rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            rotation *= np.sign(np.linalg.det(rotation))
            points = sphere @ rotation.T
            depth = 8 + points[:, 2:]
            views.append(np.concatenate([size / 2 + 8 * radius * size * points[:, :2] / depth, depth], 1))
        return torch.tensor(np.array(views), dtype=torch.float32), torch.from_numpy(triangles)

    return make


@pytest.fixture
def planar_mesh():
    """A function making a triangulated square that reaches beyond the image on all sides, facing the camera.

    Half of its vertices lie on pixel centres and corners, so that many centres fall on edges and vertices.
    """

    def make(seed, vertices=80, size=16):
        rng = np.random.default_rng(seed)
        inside = rng.uniform(-1, size + 1, (vertices, 2)).astype(np.float32)
        inside[::2] = np.round(inside[::2] * 2) / 2
        frame = np.array([[-4, -4], [-4, size + 4], [size + 4, -4], [size + 4, size + 4]], np.float32)
        points = np.unique(np.concatenate([inside, frame]), axis=0)
        triangles = Delaunay(points).simplices.astype(np.int32)
        a, b, c = points[triangles].swapaxes(0, 1).astype(np.float64)
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        triangles[area > 0] = triangles[area > 0][:, ::-1]
        depth = rng.uniform(5, 6, (len(points), 1)).astype(np.float32)
        return torch.from_numpy(np.concatenate([points, depth], 1))[None], torch.from_numpy(triangles)

    return make
