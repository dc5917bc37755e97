"""Fine skin detail as a layer of its own: pores, freckles and single hairs, which the albedo basis does not hold."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from scipy.spatial import cKDTree

from facerecon.morphable.head_data import load_head_data
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.mesh_regions import on_eyeballs
from facerecon.morphable.skin import SkinParameters, brow_map, skin_albedo
from facerecon.morphable.subdivision import subdivide
from facerecon.morphable.texels import locate_texels

CHUNK = 100_000  # texels
PORES_PER_MM2 = 0.8
PORE_RADIUS, PORE_DEPTH = 0.22, 0.14  # mm, share of the light that the deepest pores keep back
PORE_PLACES = 1.7  # times as deep on nose and cheeks as elsewhere
HAIR_SHADOW, SHADOW_DROP = 0.35, 0.6  # strength relative to the hair's darkness, and mm below the hair
COARSEST = 6.0  # mm; longer variation belongs to the basis and is taken out
MM_PER_CHART = 260.0  # of surface along the chart's side, about


def detail_layer(
    model: LinearFaceModel, parameters: SkinParameters, seed: int, size: int = 1024
) -> NDArray[np.float32]:
    """Factor (size, size, 3), about 1, on linear albedo at the texels of the face's UV chart, row 0 at the top.

    parameters: the person, of whom melanin, freckles, brows, beard and hair colour count. seed: of the random places of
    pores, spots and hairs. Its mean over any place of about 6 mm is 1, so that it adds nothing to what the albedo basis
    holds; 1 on the eyeballs and outside the chart. Below 512 texels a side pores are too small to be seen.
    Raises ValueError if `size` is not positive.
    """
    if size < 1:
        raise ValueError(f"the layer needs at least one texel, not {size}")
    topology = model.topology
    skin = ~on_eyeballs(model)
    texels = locate_texels(topology.uv, topology.triangles[skin[topology.triangles].all(1)], size)
    head = load_head_data()
    operator = subdivide(len(model.coarse.mean), model.coarse.quads, model.coarse.mirror, model.level)[-1].operator
    names = ("lips", "ears", "eyelids")
    known = np.column_stack([head.template, *(head.masks[name] for name in names)])[head.face_vertices]
    at_texels = texels.interpolate(operator @ known.astype(np.float64))
    points = at_texels[:, :3]
    masks = {name: np.clip(at_texels[:, 3 + k], 0, 1) for k, name in enumerate(names)}

    factor = np.empty((len(points), 3))
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        arguments = points[part], {name: mask[part] for name, mask in masks.items()}, parameters
        # The same seed for all chunks and both calls: the coarse blotches are equal and cancel.
        fine = skin_albedo(*arguments, np.random.default_rng(seed), detail=True)
        factor[part] = fine / skin_albedo(*arguments, np.random.default_rng(seed))
    factor *= _pores(points, texels.rows, texels.columns, size, np.random.default_rng([seed, 1]))[:, None]

    picture, inside = np.zeros((size, size, 3)), np.zeros((size, size))
    picture[texels.rows, texels.columns] = np.log(factor)
    inside[texels.rows, texels.columns] = 1
    hairy = np.zeros((size, size))
    hairy[texels.rows, texels.columns] = brow_map(points, parameters.brow_arch, parameters.brow_width)
    picture += _hair_shadow(picture, hairy, size)
    blur = COARSEST / 2 / MM_PER_CHART * size
    weight = np.maximum(gaussian_filter(inside, blur), 1e-6)
    picture -= np.stack([gaussian_filter(picture[..., k] * inside, blur) / weight for k in range(3)], axis=-1)
    return np.where(inside[..., None] > 0, np.exp(picture), 1).astype(np.float32)


def _pores(
    points: NDArray, rows: NDArray, columns: NDArray, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Factor (N,) of dark dots at the texels' template places (N, 3), mm, evenly spread over the surface."""
    place = np.full((size, size, 3), np.nan)
    place[rows, columns] = points
    right, down = np.roll(place, -1, axis=1) - place, np.roll(place, -1, axis=0) - place
    area = np.linalg.norm(np.cross(right, down), axis=-1)[rows, columns]
    area = np.where(np.isfinite(area), area, 0).clip(0, np.nanquantile(area, 0.99))
    centres = points[rng.random(len(points)) < PORES_PER_MM2 * area]
    centres = centres + rng.uniform(-0.1, 0.1, centres.shape)
    depth = PORE_DEPTH * rng.uniform(0.2, 1, len(centres)) / PORE_PLACES
    middle = (np.abs(centres[:, 0]) < 45) & (np.abs(centres[:, 1]) < 25)
    distance, nearest = cKDTree(centres).query(points, distance_upper_bound=3 * PORE_RADIUS)
    deep = np.append(depth * np.where(middle, PORE_PLACES, 1), 0)[nearest]
    return 1 - deep * np.exp(-((np.minimum(distance, 1e3) / PORE_RADIUS) ** 2))


def _hair_shadow(log_factor: NDArray, hairy: NDArray, size: int) -> NDArray:
    """Logarithm (size, size, 3) of the shadow that the brows' single hairs cast on the skin just below them."""
    dark = np.minimum(log_factor, 0) * hairy[..., None]
    drop = SHADOW_DROP / MM_PER_CHART * size
    return HAIR_SHADOW * shift(dark, (drop, 0, 0), order=1) * (1 - np.minimum(hairy, 1) * 0.5)[..., None]
