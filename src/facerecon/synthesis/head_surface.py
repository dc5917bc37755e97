"""The full head as a rendered surface: subdivided parts, parsing classes, ambient visibility, skin zones."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.morphable.eyes import EYE_RADIUS, eye_centre
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.skin import brow_map, hair_map
from facerecon.morphable.subdivision import catmull_clark
from facerecon.render.rasterize import rasterize
from facerecon.synthesis.bust import mean_bust
from facerecon.synthesis.eyes_and_mouth import tooth_places
from facerecon.synthesis.kernels import fused_vertex_normals
from facerecon.synthesis.shading_kernels import AMBIENT, ATTRIBUTES, EYE, LASH, LIPS, MOUTH, PLACE, SKIN
from facerecon.synthesis.skin_detail import map_places, pigment_fields

CLASS = {name: index for index, name in enumerate(PARSING_CLASSES)}

OPEN_RIM = 45.0  # mm above the lowest point of the neck, where its rim ends
LEAST_LIP_AMBIENT = 0.4  # share of the sky
INNER_UPPER_LIP = np.array([0.0, -28.5, 23.5], np.float32)  # landmark 62 on the template, mm


@dataclass(frozen=True, eq=False)  # compared and cached by identity
class HeadSurface:
    """A head mesh fine enough to photograph.

    operator: (V, C) sparse, fine vertices from the C coarse ones. triangles: (F, 3) int32. triangle_class: (F,) uint8
    parsing class of the bare, bald head. part: (V,) name index into `parts`. template: (V, 3) mm. masks: smooth (V,)
    skin masks. occlusion: (V,) fraction of the sky that each template vertex sees. scalp: (V,) where hair grows,
    [0, 1]. material: (F,) uint8 of `shading_kernels`. shading: (V, ATTRIBUTES) the kernel's vertex attributes with
    gloss left at 0. zones: smooth (V,) parts of the skin. fields: (lengths, n, V) smooth random fields.
    coarse_triangles: (n, 3) the head at the generator's resolution. brow_vertices, brow_triangles: ids of those where
    any brows may be. triangle_centre: (F, 3) on the template, mm. upper_teeth: ids of their vertices. upper_lip: id of
    a vertex in the middle of its lower edge. closed: (F,) False near the neck's rim, whose inside can be seen.
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
    material: NDArray[np.uint8]
    shading: NDArray[np.float32]
    zones: dict[str, NDArray[np.float32]]
    fields: NDArray[np.float32]
    coarse_triangles: NDArray[np.int32]
    brow_vertices: NDArray[np.int64]
    brow_triangles: NDArray[np.int64]
    triangle_centre: NDArray[np.float32]
    upper_teeth: NDArray[np.int64]
    closed: NDArray[np.bool_]
    upper_lip: int

    def triangle_mean(self, values: NDArray) -> NDArray:
        """(F,) means of vertex values (V,) over triangles."""
        a, b, c = self.triangles.T
        return (values[a] + values[b] + values[c]) / 3.0

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
    triangle_class = _classify(triangles, triangle_part, parts, frame, masks, generator)
    occlusion = _ambient_visibility(template, triangles, mean_bust(generator.template))
    lash = _lash_line(template, triangles, triangle_part, parts)
    zones = _zones(template, masks, lash)
    centre = template[triangles].mean(1)
    coarse = np.concatenate([generator.quads[name] for name in parts])
    # Each subdivision keeps the vertices that it starts from first, so the cage's quads name fine vertices too.
    coarse_triangles = np.searchsorted(used, np.concatenate([coarse[:, [0, 1, 2]], coarse[:, [0, 2, 3]]]))
    return HeadSurface(
        generator=generator,
        operator=operator,
        triangles=triangles,
        triangle_class=triangle_class,
        part=part,
        parts=parts,
        template=template,
        masks=masks,
        occlusion=occlusion,
        scalp=hair_map(template, masks["ears"]).astype(np.float32),
        material=_materials(triangle_class),
        shading=_shading(template, part, parts, generator, occlusion, masks["lips"], lash),
        zones=zones,
        fields=pigment_fields(template),
        coarse_triangles=coarse_triangles.astype(np.int32),
        triangle_centre=centre,
        upper_teeth=np.flatnonzero(part == parts.index("teeth_upper")),
        closed=centre[:, 1] > template[:, 1].min() + OPEN_RIM,
        upper_lip=int(((template - INNER_UPPER_LIP) ** 2).sum(1).argmin()),
        brow_vertices=np.flatnonzero(brow_map(template, width=2.0) > 0.005),
        brow_triangles=np.flatnonzero(brow_map(centre, width=2.0) > 0.005),
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


def _materials(triangle_class: NDArray) -> NDArray[np.uint8]:
    material = np.full(len(triangle_class), SKIN, np.uint8)
    material[np.isin(triangle_class, [CLASS["l_eye"], CLASS["r_eye"]])] = EYE
    material[triangle_class == CLASS["mouth"]] = MOUTH
    return material


def _lash_line(
    template: NDArray, triangles: NDArray, triangle_part: NDArray, parts: tuple[str, ...]
) -> NDArray[np.float32]:
    """(V,) 1 along the upper lids' edges, less along the lower ones, 0 elsewhere."""
    socket = np.unique(triangles[triangle_part == parts.index("eye_sockets")])
    skin = np.unique(triangles[triangle_part == parts.index("skin")])
    edge = np.intersect1d(socket, skin)
    distance, nearest = cKDTree(template[edge]).query(template, distance_upper_bound=6.0)
    near = np.isfinite(distance)
    lash = np.zeros(len(template), np.float32)
    place = template[edge[nearest[near]]]
    # Lids meet in corners 43 and 20 mm from the midline, at heights 38.2 and 37.2 mm (template landmarks 36 to 47).
    upper = place[:, 1] > np.interp(np.abs(place[:, 0]), [20.4, 43.4], [37.2, 38.2])
    lash[near] = np.minimum(1.5 * np.exp(-((distance[near] / 1.0) ** 2)), 1.0) * np.where(upper, 1.0, 0.4)
    return lash


def _zones(template: NDArray, masks: dict[str, NDArray], lash: NDArray) -> dict[str, NDArray[np.float32]]:
    """Smooth parts of the face's skin (V,), placed by hand on the template."""
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]

    def bump(value: NDArray, width: float) -> NDArray:
        return np.exp(-0.5 * (value / width) ** 2)

    front = 1.0 / (1.0 + np.exp(-(z + 40.0) / 4.0))
    zones = {name: masks[name] for name in ("lips", "ears", "eyelids")}
    zones |= {
        "cheeks": bump(x - 42.0, 13.0) * bump(y - 3.0, 13.0) * front,
        "nose": bump(x, 12.0) * bump(y - 2.0, 11.0) * (z > 14.0),
        "chin": bump(x, 18.0) * bump(y + 56.0, 12.0) * front,
        "forehead": bump(x, 34.0) * bump(y - 84.0, 17.0) * front,
        "under_eye": bump(x - 31.0, 10.5) * bump(y - 28.0, 5.0) * front,
        "upper_lid": bump(x - 32.0, 11.0) * bump(y - 45.0, 4.5) * front,
        "lids": lash,
    }
    return {name: np.asarray(zone, np.float32) for name, zone in zones.items()}


def _shading(
    template: NDArray,
    part: NDArray,
    parts: tuple[str, ...],
    generator: HeadGenerator,
    occlusion: NDArray,
    lips: NDArray,
    lash: NDArray,
) -> NDArray[np.float32]:
    """(V, ATTRIBUTES) the kernel's vertex attributes with gloss left at 0."""
    is_part = {name: part == number for number, name in enumerate(parts)}
    shading = np.zeros((len(template), ATTRIBUTES), np.float32)
    # The template's lips touch; those of an open mouth see more than they do there.
    near_mouth = np.exp(-0.5 * (((template - INNER_UPPER_LIP) / [27.0, 9.0, 14.0]) ** 2).sum(1))
    shading[:, AMBIENT] = np.maximum(occlusion**0.8, LEAST_LIP_AMBIENT * near_mouth)
    shading[:, LIPS], shading[:, LASH] = lips, lash
    shading[:, PLACE : PLACE + 2] = map_places(template)
    for name in ("eye_left", "eye_right"):
        centre = eye_centre(generator.template[np.unique(generator.quads[name])])
        shading[is_part[name], PLACE:] = (template[is_part[name]] - centre) / EYE_RADIUS
    inside = is_part["teeth_upper"] | is_part["teeth_lower"] | is_part["tongue"] | is_part["mouth_cavity"]
    places = tooth_places(template, is_part["teeth_upper"], is_part["teeth_lower"])
    shading[inside, PLACE:] = places[inside]
    return shading


def _ambient_visibility(
    vertices: NDArray, triangles: NDArray, beside: tuple[NDArray, NDArray], directions: int = 48, size: int = 160
) -> NDArray[np.float32]:
    """(V,) cosine-weighted fraction of the sky seen by each vertex, from depth maps along many directions.

    beside: vertices and triangles of what stands beside the surface and hides sky, too.
    """
    normals = fused_vertex_normals(vertices, triangles)
    scene = np.concatenate([vertices, beside[0]]).astype(np.float32)
    scene_triangles = np.concatenate([triangles, beside[1] + len(vertices)]).astype(np.int32)
    index = np.arange(directions) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * index / directions), np.pi * (1.0 + 5.0**0.5) * index
    sky = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], 1)
    seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for direction in sky.astype(np.float32):
        depth_map, frame, scale = light_depth(scene, scene_triangles, direction, size)
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
