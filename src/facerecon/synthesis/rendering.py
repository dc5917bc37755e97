"""Camera, scene assembly and rendering of one photograph."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facerecon.render.rasterize import rasterize
from facerecon.render.shading import linear_to_srgb
from facerecon.synthesis.head_surface import HeadSurface, light_depth
from facerecon.synthesis.kernels import fused_vertex_normals, shade_pixels
from facerecon.synthesis.lighting import Light
from facerecon.synthesis.person import Person
from facerecon.synthesis.shapes import Mesh

SHADOW_MAP_SIZE = 144
TABLE_SIZE = 8192


@dataclass(frozen=True)
class Camera:
    """Perspective camera and head pose: x_cam = diag(1, -1, -1) rotation x_head + translation (docs/conventions.md).

    rotation: (3, 3). translation: (3,) mm. focal: px. centre: (2,) px.
    """

    rotation: NDArray[np.float32]
    translation: NDArray[np.float32]
    focal: float
    centre: NDArray[np.float32]

    def view(self, points: NDArray) -> NDArray[np.float32]:
        """(N, 3) head frame to the view frame: rotated only, y up and z toward the viewer, mm."""
        return points @ self.rotation.T

    def project(self, points: NDArray) -> NDArray[np.float32]:
        """(N, 3) head frame, mm, to (N, 3) x, y in pixels and depth in mm."""
        camera = self.view(points) * np.float32([1.0, -1.0, -1.0]) + self.translation
        pixels = np.empty_like(camera)
        pixels[:, :2] = self.focal * camera[:, :2] / camera[:, 2:3] + self.centre
        pixels[:, 2] = camera[:, 2]
        return pixels

    def scaled(self, factor: float) -> "Camera":
        """The same view on an image `factor` times as large."""
        return Camera(self.rotation, self.translation, self.focal * factor, self.centre * np.float32(factor))


@dataclass(frozen=True)
class Rendering:
    """radiance: (S, S, 3) linear, 0 where empty. labels: (S, S) parsing classes. covered: (S, S). depth: (S, S) mm."""

    radiance: NDArray[np.float32]
    labels: NDArray[np.uint8]
    covered: NDArray[np.bool_]
    depth: NDArray[np.float32]


def tabulated_srgb(radiance: NDArray) -> NDArray[np.float32]:
    """`render.shading.linear_to_srgb` of values clipped to [0, 1], from a table fine enough for eight bits.

    A value that is not a number counts as 0.
    """
    clipped = np.nan_to_num(np.clip(radiance, 0.0, 1.0), copy=False)
    index = clipped * np.float32(TABLE_SIZE - 1) + np.float32(0.5)
    return _srgb_table()[index.astype(np.int32)]


@cache
def _srgb_table() -> NDArray[np.float32]:
    return linear_to_srgb(np.linspace(0.0, 1.0, TABLE_SIZE, dtype=np.float32)).astype(np.float32)


def render_scene(
    surface: HeadSurface,
    person: Person,
    head_vertices: NDArray,
    extras: list[Mesh],
    camera: Camera,
    light: Light,
    size: int,
) -> Rendering:
    """Photograph a head (V, 3) with further meshes at size x size pixels, before background and camera effects."""
    vertices = np.concatenate([head_vertices] + [mesh.vertices for mesh in extras]).astype(np.float32)
    offsets = np.cumsum([len(head_vertices)] + [len(mesh.vertices) for mesh in extras])
    triangles = np.concatenate(
        [surface.triangles] + [mesh.triangles + offset for mesh, offset in zip(extras, offsets, strict=False)]
    ).astype(np.int32)
    albedo = np.concatenate([person.colours] + [mesh.colours for mesh in extras])
    classes = np.concatenate([person.triangle_class] + [mesh.labels for mesh in extras])
    added = len(vertices) - len(head_vertices)
    occlusion = np.concatenate([surface.occlusion**0.8, np.full(added, 2.0, np.float32)])  # 2: two-sided shells
    gloss = np.concatenate([person.gloss, np.full(added, 0.01, np.float32)])
    eye = np.concatenate([surface.is_part("eye_left", "eye_right"), np.zeros(added, bool)]).astype(np.float32)

    position = camera.view(vertices)
    normal = fused_vertex_normals(position, triangles)
    pixels = camera.project(vertices)
    seen, distance = rasterize(torch.from_numpy(pixels)[None], triangles, size, size, cull=False)
    index, depth = seen[0].numpy(), distance[0].numpy()
    shadow_depth, frame, scale = light_depth(position, triangles, light.direction, SHADOW_MAP_SIZE)
    radiance = shade_pixels(
        index, pixels, triangles, position, normal, albedo.astype(np.float32), occlusion.astype(np.float32),
        gloss.astype(np.float32), eye, light.ambient, light.direction, light.colour,
        shadow_depth, frame, scale, light.shadow,
    )  # fmt: skip
    np.nan_to_num(radiance, copy=False)  # one broken pixel must not decide the exposure of the picture
    covered = index >= 0
    labels = np.where(covered, classes[np.maximum(index, 0)], 0).astype(np.uint8)
    return Rendering(radiance, labels, covered, depth)


def area_reduce(image: NDArray, size: int) -> NDArray[np.float32]:
    """Average (S, S, C) down to (size, size, C)."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
