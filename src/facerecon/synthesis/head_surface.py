"""The full head as a rendered surface: subdivided parts, parsing classes, ambient visibility, eye colours."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.morphable.eyes import eye_albedo, eye_centre
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.skin import hair_map
from facerecon.morphable.subdivision import catmull_clark
from facerecon.render.rasterize import rasterize
from facerecon.synthesis.kernels import fused_vertex_normals

CLASS = {name: index for index, name in enumerate(PARSING_CLASSES)}

# Linear colours of what lies inside the mouth.
MOUTH_CAVITY = np.array([0.22, 0.06, 0.05], np.float32)
TEETH = np.array([0.62, 0.58, 0.48], np.float32)
TONGUE = np.array([0.38, 0.13, 0.12], np.float32)


@dataclass(frozen=True)
class HeadSurface:
    """A head mesh fine enough to photograph.

    operator: (V, C) sparse, fine vertices from the C coarse ones. triangles: (F, 3) int32. triangle_class: (F,) uint8
    parsing class of the bare, bald head. part: (V,) name index into `parts`. template: (V, 3) mm. masks: smooth (V,)
    skin masks. occlusion: (V,) fraction of the sky that each template vertex sees. scalp: (V,) where hair grows,
    [0, 1].
    """

    generator: HeadGenerator
    operator: sp.csr_matrix
    triangles: NDArray[np.int32]
    triangle_class: NDArray[np.uint8]
    part: NDArray[np.int32]
    parts: tuple[str, ...]
    template: NDArray[np.float32]
    masks: dict[str, NDArray[np.float32]]
    occlusion: NDArray[np.float32]
    scalp: NDArray[np.float32]

    def is_part(self, *names: str) -> NDArray[np.bool_]:
        """(V,) True on vertices of the named parts."""
        return np.isin(self.part, [self.parts.index(name) for name in names])


@lru_cache(maxsize=2)
def load_head_surface(levels: int = 2) -> HeadSurface:
    """Build the surface from the carried head data (about a second); kept for the life of the process."""
    generator = HeadGenerator.load()
    parts = tuple(generator.quads)
    quads = np.concatenate([generator.quads[name] for name in parts])
    quad_part = np.concatenate([np.full(len(generator.quads[name]), k) for k, name in enumerate(parts)])
    operator = sp.identity(len(generator.template), format="csr")
    for _ in range(levels):
        step, quads = catmull_clark(operator.shape[0], quads)
        operator = (step @ operator).tocsr()
        quad_part = np.repeat(quad_part, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    triangle_part = np.concatenate([quad_part, quad_part])
    used, compact = np.unique(triangles, return_inverse=True)
    triangles = compact.reshape(-1, 3).astype(np.int32)
    operator = operator[used].astype(np.float32)
    part = np.zeros(len(used), np.int32)
    for k in reversed(range(len(parts))):  # the skin, listed first, wins on shared rims
        part[np.unique(triangles[triangle_part == k])] = k
    template = np.asarray(operator @ generator.template, np.float32)
    masks = {name: np.clip(operator @ mask, 0.0, 1.0).astype(np.float32) for name, mask in generator.masks.items()}
    frame = template - _eye_centre(generator)
    return HeadSurface(
        generator=generator,
        operator=operator,
        triangles=triangles,
        triangle_class=_classify(triangles, triangle_part, parts, frame, masks, generator),
        part=part,
        parts=parts,
        template=template,
        masks=masks,
        occlusion=_ambient_visibility(template, triangles),
        scalp=hair_map(template, masks["ears"]).astype(np.float32),
    )


def _eye_centre(generator: HeadGenerator) -> NDArray[np.float32]:
    """(3,) front of the point midway between the eyes of the template, mm."""
    eyes = generator.template[np.unique(np.concatenate([generator.quads["eye_left"], generator.quads["eye_right"]]))]
    return np.array([0.0, eyes[:, 1].mean(), eyes[:, 2].max()], np.float32)


def _classify(
    triangles: NDArray,
    triangle_part: NDArray,
    parts: tuple[str, ...],
    frame: NDArray,
    masks: dict[str, NDArray],
    generator: HeadGenerator,
) -> NDArray[np.uint8]:
    """Parsing class of each triangle of the bald head without brows (brows follow the skin's paint)."""
    centre = frame[triangles].mean(1)
    x, y, z = centre.T
    label = np.full(len(triangles), CLASS["skin"], np.uint8)
    of = {name: mask[triangles].mean(1) for name, mask in masks.items()}
    below_jaw = (y < -118.0 + 0.55 * np.maximum(-20.0 - z, 0.0)) & (of["face"] < 0.3)
    label[below_jaw] = CLASS["neck"]
    nose_half_width = np.interp(y, [-58.0, -50.0, -40.0, -25.0, 4.0], [12.0, 20.0, 18.0, 12.0, 8.0])
    label[(np.abs(x) < nose_half_width) & (y > -56.0) & (y < 4.0) & (z > -10.0)] = CLASS["nose"]
    lips = of["lips"] > 0.5
    mouth = generator.template[np.unique(generator.quads["mouth_cavity"])]
    rim_height = mouth[mouth[:, 2] > mouth[:, 2].max() - 6.0, 1].mean() - _eye_centre(generator)[1]
    label[lips & (y >= rim_height)] = CLASS["u_lip"]
    label[lips & (y < rim_height)] = CLASS["l_lip"]
    ears = of["ears"] > 0.4
    label[ears & (x > 0)] = CLASS["l_ear"]
    label[ears & (x < 0)] = CLASS["r_ear"]
    names = np.array(parts)[triangle_part]
    label[np.isin(names, ["mouth_cavity", "teeth_upper", "teeth_lower", "tongue"])] = CLASS["mouth"]
    label[names == "eye_left"] = CLASS["l_eye"]
    label[names == "eye_right"] = CLASS["r_eye"]
    return label


def _ambient_visibility(vertices: NDArray, triangles: NDArray, directions: int = 48, size: int = 160) -> NDArray:
    """(V,) cosine-weighted fraction of the sky seen by each vertex, from depth maps along many directions."""
    normals = fused_vertex_normals(vertices, triangles)
    index = np.arange(directions) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * index / directions), np.pi * (1.0 + 5.0**0.5) * index
    sky = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], 1)
    seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in sky.astype(np.float32):
        depth_map, frame, scale = light_depth(vertices, triangles, direction, size)
        local = vertices @ frame.T
        column, row = ((local[:, :2] * scale) + size / 2).astype(int).T
        weight = np.maximum(normals @ direction, 0.0)
        seen += weight * (depth_map[row.clip(0, size - 1), column.clip(0, size - 1)] <= local[:, 2] + 4.0)
        total += weight
    return (seen / np.maximum(total, 1e-6)).astype(np.float32)


def light_depth(
    vertices: NDArray, triangles: NDArray, direction: NDArray, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Shadow map: height along `direction` (unit, toward the light) of the surface nearest to the light.

    Returns the (size, size) map in mm (-1e5 where empty), the (3, 3) light frame and its texels per mm.
    """
    right = np.cross([0.0, 1.0, 0.01], direction)
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(direction, right), direction]).astype(np.float32)
    local = vertices @ frame.T
    scale = size / 340.0
    pixels = np.empty_like(local)
    pixels[:, :2] = local[:, :2] * scale + size / 2
    pixels[:, 2] = 2000.0 - local[:, 2]
    _, depth = rasterize(torch.from_numpy(pixels)[None], triangles, size, size, cull=False)
    height = 2000.0 - depth[0].numpy()
    return np.maximum(height, -1e5, dtype=np.float32), frame, scale


def paint_eyes_and_mouth(surface: HeadSurface, colours: NDArray, iris: NDArray, gaze: NDArray) -> None:
    """Colour eyeballs, teeth, tongue and mouth cavity in place.

    colours: (V, 3) linear. iris: (3,) linear. gaze: (2,) horizontal and vertical tangent of the looking direction.
    """
    template, generator = surface.template, surface.generator
    front = generator.template[np.unique(generator.quads["teeth_upper"])][:, 2].max()
    depth = template[:, 2:3]
    for names, colour, reach, scale, brightest in (
        (("mouth_cavity",), MOUTH_CAVITY, 48.0, 70.0, 0.6),
        (("teeth_upper", "teeth_lower"), TEETH, 42.0, 42.0, 1.0),
        (("tongue",), TONGUE, 52.0, 50.0, 0.8),
    ):
        inside = surface.is_part(*names)
        colours[inside] = colour * np.clip((depth[inside] - front + reach) / scale, 0.03, brightest)
    direction = np.array([gaze[0], gaze[1], 1.0])
    for name in ("eye_left", "eye_right"):
        on_eye = surface.is_part(name)
        centre = eye_centre(generator.template[np.unique(generator.quads[name])])
        colours[on_eye] = eye_albedo(template[on_eye], centre, iris, direction, lid_shadow=False)
