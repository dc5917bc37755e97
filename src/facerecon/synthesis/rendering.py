"""Camera, scene assembly and rendering of one photograph."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facerecon.render.rasterize import rasterize
from facerecon.render.shading import linear_to_srgb
from facerecon.synthesis.head_surface import HeadSurface, light_depth
from facerecon.synthesis.kernels import caster_shade, fused_vertex_normals, visible_triangles
from facerecon.synthesis.lighting import Light
from facerecon.synthesis.person import Person
from facerecon.synthesis.shading_kernels import AMBIENT, ATTRIBUTES, GLOSS, PLACE, PLAIN, SHADE, SKIN, shade_pixels
from facerecon.synthesis.shapes import Mesh
from facerecon.synthesis.skin_detail import PIGMENTS

SHADOW_MAP_SIZE, CASTER_MAP_SIZE = 208, 76  # texels a side
CASTER_DETAIL = 3  # fine texels a side of one
CASTER_BIAS = 3.0  # mm that hair lies off the skin before it shades it
TEETH_SHOWN, LIP_THICKNESS = 2.0, 4.0  # mm: upper teeth below the upper lip's edge, behind its front
TONE_RANGE, TONE_TABLE_SIZE = 4.0, 65536
SHOULDER = 0.55  # linear radiance above which the tone curve flattens


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
        return self.project_view(self.view(points))

    def project_view(self, view: NDArray) -> NDArray[np.float32]:
        """`project` of points (N, 3) that are in the view frame already."""
        pixels = np.empty(view.shape, np.float32)
        np.subtract(self.translation[2], view[:, 2], out=pixels[:, 2])
        scale = np.float32(self.focal) / pixels[:, 2]
        pixels[:, 0] = (view[:, 0] + self.translation[0]) * scale + self.centre[0]
        pixels[:, 1] = (self.translation[1] - view[:, 1]) * scale + self.centre[1]
        return pixels

    def scaled(self, factor: float) -> "Camera":
        """The same view on an image `factor` times as large."""
        return Camera(self.rotation, self.translation, self.focal * factor, self.centre * np.float32(factor))


@dataclass(frozen=True)
class Rendering:
    """radiance: (S, S, 3) linear, 0 where empty. labels: (S, S) parsing classes. covered: (S, S). depth: (S, S) mm.
    opacity: (S, S) share of each pixel before the background, or None: that of `covered`."""

    radiance: NDArray[np.float32]
    labels: NDArray[np.uint8]
    covered: NDArray[np.bool_]
    depth: NDArray[np.float32]
    opacity: NDArray[np.float32] | None = None

    def coverage(self) -> NDArray[np.float32]:
        """(S, S) share of each pixel before the background."""
        return self.covered.astype(np.float32) if self.opacity is None else self.opacity


def tone_mapped(radiance: NDArray) -> NDArray[np.float32]:
    """sRGB in [0, 1] of exposed linear radiance as a camera develops it: highlights above SHOULDER roll off softly.

    From a table fine enough for eight bits; a value that is not a number counts as 0.
    """
    clipped = np.clip(np.nan_to_num(radiance, copy=False), 0.0, TONE_RANGE)
    return _tone_table()[(clipped * np.float32((TONE_TABLE_SIZE - 1) / TONE_RANGE) + np.float32(0.5)).astype(np.int32)]


@cache
def _tone_table() -> NDArray[np.float32]:
    linear = np.linspace(0.0, TONE_RANGE, TONE_TABLE_SIZE)
    rest = 1.0 - SHOULDER
    rolled = SHOULDER + rest * (1.0 - np.exp(-np.maximum(linear - SHOULDER, 0.0) / rest))
    return linear_to_srgb(np.where(linear < SHOULDER, linear, rolled).astype(np.float32)).astype(np.float32)


def render_scene(
    surface: HeadSurface,
    person: Person,
    head_vertices: NDArray,
    extras: list[Mesh],
    camera: Camera,
    light: Light,
    size: int,
    casters: Sequence[Mesh] = (),
    gaze: NDArray | None = None,
) -> Rendering:
    """Photograph a head (V, 3) with further meshes at size x size pixels, before background and camera effects.

    casters: meshes in the head frame that are not seen, but shade from the key light (hair drawn by other means).
    gaze: (2,) horizontal and vertical tangent of the looking direction in the head frame; None: the person's own.
    """
    eyes = person.eyes if gaze is None else person.eyes.looking(gaze)
    vertices, triangles = _joined(head_vertices, surface.triangles, [(m.vertices, m.triangles) for m in extras])
    vertices[surface.upper_teeth] += _teeth_shift(surface, person, head_vertices)
    added = len(vertices) - len(head_vertices)
    albedo = np.concatenate([person.colours] + [mesh.colours for mesh in extras]).astype(np.float32)
    classes = np.concatenate([person.triangle_class] + [mesh.labels for mesh in extras])
    attributes = np.concatenate([surface.shading, np.zeros((added, ATTRIBUTES), np.float32)])
    attributes[: len(head_vertices), GLOSS] = person.gloss
    attributes[len(head_vertices) :] = _extra_attributes(extras, added)
    material = np.concatenate([surface.material] + [_extra_material(mesh) for mesh in extras])

    position = camera.view(vertices)
    normal = fused_vertex_normals(position, triangles)
    pixels = camera.project_view(position)
    shown = visible_triangles(pixels, triangles, surface.closed, size)
    seen, distance = rasterize(torch.from_numpy(pixels)[None], triangles[shown], size, size, cull=False)
    index, depth = seen[0].numpy(), distance[0].numpy()
    index = np.append(shown, np.int32(-1))[index]
    shading = [(camera.view(m.vertices), m.triangles) for m in extras]
    heights, frame, scale = light_depth(
        *_joined(position[: len(head_vertices)], surface.coarse_triangles, shading),
        light.direction,
        _shadow_map_size(light),
    )
    if casters:
        attributes[:, SHADE] = _caster_shade(position, normal, casters, camera, light)
    pixel_mm = float(camera.translation[2] / camera.focal)
    detail, detail_frame = person.detail.at(pixel_mm)
    radiance = shade_pixels(
        index, pixels, triangles, material, position, normal, albedo, attributes, detail, detail_frame, PIGMENTS,
        eyes.parameters(), camera.rotation.astype(np.float32), np.float32([camera.focal, *camera.centre, pixel_mm]),
        light.ambient, light.reflected(), light.direction, light.colour, light.softness, heights, frame, scale,
        light.shadow,
    )  # fmt: skip
    covered = index >= 0
    labels = np.append(classes, np.uint8(0))[index]  # index -1, of nothing, takes the last
    return Rendering(radiance, labels, covered, depth)


def _teeth_shift(surface: HeadSurface, person: Person, head_vertices: NDArray) -> NDArray[np.float32]:
    """(3,) mm that bring the upper teeth's edge just below the upper lip of the closed mouth, as people's are:
    MakeHuman's lips hide them in most smiles."""
    lip = (surface.operator[surface.upper_lip] @ person.neutral)[0]
    teeth = head_vertices[surface.upper_teeth]
    down = np.clip(lip[1] - TEETH_SHOWN - teeth[:, 1].min(), -8.0, 0.0)
    forward = np.clip(lip[2] - LIP_THICKNESS - teeth[:, 2].max(), -2.0, 1.5)
    return np.array([0.0, down, forward], np.float32)


def _extra_attributes(extras: list[Mesh], count: int) -> NDArray[np.float32]:
    """(count, ATTRIBUTES) the kernel's vertex attributes of further meshes; their skin lies off the detail map."""
    attributes = np.zeros((count, ATTRIBUTES), np.float32)
    attributes[:, PLACE:] = -1e4
    first = 0
    for mesh in extras:
        own = attributes[first : first + len(mesh.vertices)]
        own[:, AMBIENT] = 2.0 if mesh.visibility is None else mesh.visibility  # 2 marks two-sided shells
        own[:, GLOSS] = mesh.gloss
        first += len(mesh.vertices)
    return attributes


def _extra_material(mesh: Mesh) -> NDArray[np.uint8]:
    if mesh.skin is None:
        return np.full(len(mesh.triangles), PLAIN, np.uint8)
    return np.where(mesh.skin, SKIN, PLAIN).astype(np.uint8)


def _shadow_map_size(light: Light) -> int:
    """Texels a side: the coarser, the wider the edges of the shadows."""
    return int(np.clip(SHADOW_MAP_SIZE / (1.0 + 6.0 * light.softness), 72, SHADOW_MAP_SIZE))


def _caster_shade(
    position: NDArray, normal: NDArray, casters: Sequence[Mesh], camera: Camera, light: Light
) -> NDArray[np.float32]:
    """(V,) shade that casters throw on points (V, 3) with normals, view frame. Strands of hair do so through a coarse
    map of their own: in the fine one of solid things each would throw a stripe."""
    first, *rest = [(camera.view(m.vertices), m.triangles) for m in casters]
    size = int(CASTER_MAP_SIZE / (1.0 + 2.0 * light.softness))
    cover, heights, frame, scale = cover_map(*_joined(*first, rest), light.direction, size)
    return caster_shade(cover, heights, position, normal, frame, np.float32(scale), np.float32(CASTER_BIAS))


def cover_map(
    vertices: NDArray, triangles: NDArray, direction: NDArray, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], float]:
    """Shadow map of things finer than its texels: share (Z, Z) of each texel that they fill, their mean height there in
    mm, and frame and scale as of `light_depth`."""
    fine, frame, scale = light_depth(vertices, triangles, direction, CASTER_DETAIL * size)
    filled = (fine > -1e4).astype(np.float32)
    cover = area_reduce(filled, size)
    heights = area_reduce(fine * filled, size) / np.maximum(cover, np.float32(1e-6))
    return cover, heights, frame, scale / CASTER_DETAIL


def _joined(vertices: NDArray, triangles: NDArray, more: list[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray]:
    """Vertices (V, 3) and triangles (F, 3) of a mesh with further (vertices, triangles) appended."""
    offsets = np.cumsum([len(vertices)] + [len(points) for points, _ in more])[:-1]
    points = np.concatenate([vertices] + [points for points, _ in more]).astype(np.float32)
    faces = [triangles] + [indices + offset for (_, indices), offset in zip(more, offsets, strict=True)]
    return points, np.concatenate(faces).astype(np.int32)


def area_reduce(image: NDArray, size: int) -> NDArray[np.float32]:
    """Average (S, S, C) or (S, S) down to (size, size, C) or (size, size)."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
