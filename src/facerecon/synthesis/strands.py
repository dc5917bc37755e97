"""Strands of hair as polylines: where they are rooted, how guide strands grow, and the wisps around each guide."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.compilation import njit
from facerecon.synthesis.head_surface import HeadSurface
from facerecon.synthesis.kernels import FLAGS

SKULL_CENTRE = (0.0, 50.0, -75.0)  # head frame, mm: a point from which the whole head is star-shaped
MAP_ROWS, MAP_COLUMNS = 32, 48
BODY_LEFT, BODY_TOP, BODY_CELL = -252.0, -90.0, 12.0  # mm: where the body map begins, and its cells
BODY_ROWS, BODY_COLUMNS = 30, 42
MAP_STRIDE = 3  # of the vertices that the skull map is made from
FLYAWAY = 0.05  # share of strands that stray farthest
BUNDLES = 520  # places of guide strands on the scalp


@dataclass(frozen=True)
class Strands:
    """Wisps of hair in the head frame.

    points: (N, P, 3) mm, root first. half_width: (N,) mm. colours: (N, 3) linear albedo. opacity: (N,) at the middle.
    layer: (N,) in [0, 1], 1 outermost: how little light the other hair takes away. label: parsing class of what they
    cover, None to leave the skin's.
    """

    points: NDArray[np.float32]
    half_width: NDArray[np.float32]
    colours: NDArray[np.float32]
    opacity: NDArray[np.float32]
    layer: NDArray[np.float32]
    label: int | None


@dataclass(frozen=True)
class Roots:
    """Places on the surface: corners (N, 3) vertex ids, weights (N, 3) barycentric, template (N, 3) mm."""

    corners: NDArray[np.int32]
    weights: NDArray[np.float32]
    template: NDArray[np.float32]

    def place(self, head_vertices: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Positions and unit normals, (N, 3) each, on a head (V, 3)."""
        a, b, c = (head_vertices[self.corners[:, k]] for k in range(3))
        w = self.weights[:, :, None]
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        return (a * w[:, 0] + b * w[:, 1] + c * w[:, 2]).astype(np.float32), normal.astype(np.float32)

    def pick(self, chosen: NDArray) -> "Roots":
        """The roots of an index array or mask."""
        return Roots(self.corners[chosen], self.weights[chosen], self.template[chosen])


# Number of places in each region, the generous boxes (low and high corner, template mm) that hold it, and a seed.
REGIONS = {
    "scalp": (11000, (-95.0, -25.0, -175.0), (95.0, 165.0, 40.0), 5),
    "beard": (9000, (-80.0, -83.0, -80.0), (80.0, 25.0, 45.0), 6),
    "brows": (4000, (-56.0, 48.0, -35.0), (56.0, 67.0, 45.0), 7),
}


@lru_cache(maxsize=8)
def candidate_roots(surface: HeadSurface, region: str) -> Roots:
    """Places drawn evenly over the skin of a region, in random order, the same for everybody."""
    count, low, high, seed = REGIONS[region]
    rng = np.random.default_rng(seed)
    centre = surface.template[surface.triangles].mean(1)
    x, y, z = np.abs(centre[:, 0]), centre[:, 1], centre[:, 2]
    chosen = surface.is_part("skin")[surface.triangles].all(1) & (centre > low).all(1) & (centre < high).all(1)
    chosen &= surface.masks["ears"][surface.triangles].mean(1) < 0.25
    if region == "scalp":
        chosen &= (y > 80.0 - 0.010 * x**2) | ((z < -38.0) & (y > 8.0) & (x > 45.0)) | (z < -85.0)
    if region == "beard":
        chosen &= (y < 5.0) | (x > 40.0)
    chosen = np.flatnonzero(chosen)
    corners = surface.triangles[chosen]
    a, b, c = (surface.template[corners[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    drawn = np.searchsorted(np.cumsum(area) / area.sum(), rng.random(count)).clip(0, len(corners) - 1)
    u, v = rng.random((2, count))
    u, v = np.where(u + v > 1.0, 1.0 - u, u), np.where(u + v > 1.0, 1.0 - v, v)
    weights = np.stack([1.0 - u - v, u, v], 1).astype(np.float32)
    corners = corners[drawn]
    template = (surface.template[corners] * weights[:, :, None]).sum(1)
    return Roots(corners, weights, template.astype(np.float32))


@lru_cache(maxsize=2)
def scalp_bundles(surface: HeadSurface) -> NDArray[np.int64]:
    """Which of BUNDLES neighbourhoods each candidate root of the scalp belongs to."""
    template = candidate_roots(surface, "scalp").template
    square = (template[:BUNDLES] ** 2).sum(1)
    return np.argmin(square[None] - 2.0 * template @ template[:BUNDLES].T, 1)


@lru_cache(maxsize=4)
def _map_vertices(surface: HeadSurface, with_ears: bool) -> NDArray[np.int64]:
    chosen = np.flatnonzero(surface.is_part("skin"))[::MAP_STRIDE]
    return chosen if with_ears else chosen[surface.masks["ears"][chosen] < 0.2]


def skull_map(surface: HeadSurface, head_vertices: NDArray, with_ears: bool) -> NDArray[np.float32]:
    """(MAP_ROWS, MAP_COLUMNS) distance, mm, of the skin from SKULL_CENTRE by polar angle and azimuth.

    with_ears: whether the ears count, so that hair falls over them, or stick out of the hair.
    """
    return _farthest(np.asarray(head_vertices, np.float32)[_map_vertices(surface, with_ears)])


@njit(cache=True)
def _farthest(points: NDArray) -> NDArray:
    radius = np.zeros((MAP_ROWS, MAP_COLUMNS), np.float32)
    for n in range(points.shape[0]):
        x = points[n, 0] - SKULL_CENTRE[0]
        y = points[n, 1] - SKULL_CENTRE[1]
        z = points[n, 2] - SKULL_CENTRE[2]
        r = np.sqrt(x * x + y * y + z * z)
        row = min(int(np.arccos(y / (r + 1e-9)) / np.pi * MAP_ROWS), MAP_ROWS - 1)
        column = int((np.arctan2(x, z) / (2.0 * np.pi) + 0.5) * MAP_COLUMNS) % MAP_COLUMNS
        radius[row, column] = max(radius[row, column], r)
    for row in range(MAP_ROWS):
        polar = (row + 0.5) / MAP_ROWS * np.pi
        total, found = 0.0, 0
        for column in range(MAP_COLUMNS):
            if radius[row, column] > 0.0:
                total += radius[row, column]
                found += 1
        # About the pole cells are smaller than triangles; below the neck's rim the neck goes on.
        fill = total / found if row < MAP_ROWS // 2 and found > 0 else min(60.0 / max(np.sin(polar), 0.2), 260.0)
        for column in range(MAP_COLUMNS):
            if radius[row, column] == 0.0:
                radius[row, column] = fill
    radius[0, :] = radius[1, :].mean()
    return radius


@njit(cache=True)
def _surface_distance(radius: NDArray, x: float, y: float, z: float, r: float) -> float:
    """Bilinear look-up of the skull map in the direction of (x, y, z), of length r."""
    v = np.arccos(min(max(y / (r + 1e-9), -1.0), 1.0)) / np.pi * MAP_ROWS - 0.5
    u = (np.arctan2(x, z) / (2.0 * np.pi) + 0.5) * MAP_COLUMNS - 0.5
    row, column = int(np.floor(v)), int(np.floor(u))
    fv, fu = v - row, u - column
    top, bottom = max(row, 0), min(row + 1, MAP_ROWS - 1)
    left, right = column % MAP_COLUMNS, (column + 1) % MAP_COLUMNS
    upper = radius[top, left] * (1.0 - fu) + radius[top, right] * fu
    lower = radius[bottom, left] * (1.0 - fu) + radius[bottom, right] * fu
    return upper * (1.0 - fv) + lower * fv


@njit(cache=True)
def body_map(vertices: NDArray) -> NDArray:
    """(2, BODY_ROWS, BODY_COLUMNS) hindmost and foremost z, mm, of a body's vertices (N, 3) by x and y.

    Where there is none the hindmost lies before the foremost.
    """
    out = np.empty((2, BODY_ROWS, BODY_COLUMNS), np.float32)
    out[0], out[1] = 1e6, -1e6
    for n in range(vertices.shape[0]):
        column = int((vertices[n, 0] - BODY_LEFT) / BODY_CELL)
        row = int((BODY_TOP - vertices[n, 1]) / BODY_CELL)
        if 0 <= column < BODY_COLUMNS and 0 <= row < BODY_ROWS:
            out[0, row, column] = min(out[0, row, column], vertices[n, 2])
            out[1, row, column] = max(out[1, row, column], vertices[n, 2])
    return out


@njit(cache=True)
def skin_distance(radius: NDArray, directions: NDArray) -> NDArray:
    """(N,) mm from SKULL_CENTRE to the skin of a skull map along unit directions (N, 3)."""
    out = np.empty(directions.shape[0], np.float64)
    for n in range(directions.shape[0]):
        out[n] = _surface_distance(radius, directions[n, 0], directions[n, 1], directions[n, 2], 1.0)
    return out


@njit(cache=True)
def grow_guides(
    roots: NDArray,
    normals: NDArray,
    combs: NDArray,
    lengths: NDArray,
    lifts: NDArray,
    rise: NDArray,
    weight: NDArray,
    hold: float,
    free: NDArray,
    side: NDArray,
    backward: float,
    face_top: float,
    radius: NDArray,
    body: NDArray,
    count: int,
) -> NDArray:
    """Guide strands (N, count, 3) that leave the skin, follow their comb, sink, and slide over head and shoulders.

    roots, normals, combs: (N, 3), combs the unit tangents that the hair is combed to. lengths: (N,) mm. lifts: (N,) mm
    that the strand stays above the skin. rise: (N,) share of the normal in the first direction. weight: (N,) pull of
    gravity per mm. hold: how firmly hair that stands off the head bends back to it, 1/mm^2. free: (N,) half-width, mm,
    of the band before the face that the strand keeps out of; 0 none. side: (N,) -1 or 1, where it gives way.
    backward: pull to the back per mm below `face_top`, height in mm.
    radius: the skull map.
    """
    out = np.empty((roots.shape[0], count, 3), np.float32)
    cx, cy, cz = SKULL_CENTRE
    for n in range(roots.shape[0]):
        px, py, pz = roots[n, 0], roots[n, 1], roots[n, 2]
        dx = combs[n, 0] * (1.0 - rise[n]) + normals[n, 0] * rise[n]
        dy = combs[n, 1] * (1.0 - rise[n]) + normals[n, 1] * rise[n]
        dz = combs[n, 2] * (1.0 - rise[n]) + normals[n, 2] * rise[n]
        step = lengths[n] / (count - 1)
        for k in range(count):
            out[n, k, 0], out[n, k, 1], out[n, k, 2] = px, py, pz
            dy -= weight[n] * step
            if free[n] > 0.0 and py < face_top:
                dz -= backward * step
                if pz > -45.0 and abs(px) < free[n]:
                    dx += side[n] * min((free[n] - abs(px)) / 25.0, 1.0) * 0.9
            length = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
            dx, dy, dz = dx / length, dy / length, dz / length
            px, py, pz = px + dx * step, py + dy * step, pz + dz * step
            qx, qy, qz = px - cx, py - cy, pz - cz
            r = np.sqrt(qx * qx + qy * qy + qz * qz) + 1e-9
            travelled = (k + 1) * step
            want = _surface_distance(radius, qx, qy, qz, r) + lifts[n] * (1.0 - np.exp(-travelled / 14.0)) + 0.3
            if r < want and py > -150.0:
                nx, ny, nz = qx / r, qy / r, qz / r
                px, py, pz = cx + nx * want, cy + ny * want, cz + nz * want
                inward = min(dx * nx + dy * ny + dz * nz, 0.0)
                dx, dy, dz = dx - inward * nx, dy - inward * ny, dz - inward * nz
            elif qy > -50.0:
                pull = hold * (r - want) * step / r
                dx, dy, dz = dx - pull * qx, dy - pull * qy, dz - pull * qz
            column, row = int((px - BODY_LEFT) / BODY_CELL), int((BODY_TOP - py) / BODY_CELL)
            if 0 <= column < BODY_COLUMNS and 0 <= row < BODY_ROWS:
                back, front = body[0, row, column], body[1, row, column]
                if back - 2.0 < pz < front + 2.0:
                    # To the chest or down the back, whichever is nearer, no faster than it falls.
                    outside = front + 3.0 - pz if pz > 0.5 * (front + back) else back - 3.0 - pz
                    pz += min(max(outside, -1.5 * step), 1.5 * step)
                    dz += 0.3 if outside > 0.0 else -0.3
    return out


def curl_offsets(
    guides: NDArray, radius: NDArray, pitch: NDArray, phase: NDArray, step: NDArray
) -> NDArray[np.float32]:
    """Helix (N, P, 3) mm around guides (N, P, 3); radius, pitch in mm, phase and step, mm a point: (N,)."""
    tangent = np.gradient(guides, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-6
    across = np.stack([tangent[..., 2] - tangent[..., 1], tangent[..., 0] - tangent[..., 2],
                       tangent[..., 1] - tangent[..., 0]], 2)  # fmt: skip # the cross product with (1, 1, 1)
    across /= np.linalg.norm(across, axis=2, keepdims=True) + 1e-3
    second = np.cross(tangent, across)
    travelled = np.arange(guides.shape[1]) * step[:, None]
    angle = 2.0 * np.pi * travelled / pitch[:, None] + phase[:, None]
    size = radius[:, None] * np.minimum(travelled / (1.5 * pitch[:, None]), 1.0)
    return ((np.cos(angle) * size)[..., None] * across + (np.sin(angle) * size)[..., None] * second).astype(np.float32)


def wisps(
    rng: Generator, guides: NDArray, parent: NDArray, offsets: NDArray, layer: NDArray, clump: float, shorten: float,
    mess: float, lift: float,
) -> NDArray[np.float32]:  # fmt: skip
    """Strands (N, P, 3) around guides (G, P, 3): each starts at its guide's root + offset and draws near its guide.

    parent: (N,) guide of each. offsets: (N, 3) mm. layer: (N,) in [0, 1], 1 outermost. clump: share of the offset that
    is gone at the tip. shorten: largest share by which a strand is shorter. mess: mm that tips stray. lift: mm that
    the outermost strands lie farther out than the innermost.
    """
    stray = rng.standard_normal(offsets.shape, np.float32) * np.float32(mess)
    stray[rng.random(len(parent), np.float32) < FLYAWAY] *= np.float32(3.5)
    keep = 1.0 - shorten * rng.random(len(parent), np.float32) ** 2
    return _spread(guides, parent, offsets, stray, keep, layer * np.float32(lift), clump)


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def _spread(
    guides: NDArray, parent: NDArray, offsets: NDArray, stray: NDArray, keep: NDArray, lift: NDArray, clump: float
) -> NDArray:
    count, points = parent.shape[0], guides.shape[1]
    out = np.empty((count, points, 3), np.float32)
    for k in range(points):
        for n in range(count):
            t = np.float32(k) / np.float32(points - 1) * keep[n]
            at = t * np.float32(points - 1)
            low = min(int(at), points - 2)
            f = at - np.float32(low)
            near = np.float32(1.0) - np.float32(clump) * np.sqrt(t)
            far = t * np.sqrt(t)
            # Away from the skull's centre, about 100 mm off.
            raised = np.float32(1.0) + lift[n] * np.sqrt(t) * np.float32(0.01)
            for c in range(3):
                along = guides[parent[n], low, c] * (np.float32(1.0) - f) + guides[parent[n], low + 1, c] * f
                p = along + offsets[n, c] * near + stray[n, c] * far - np.float32(SKULL_CENTRE[c])
                out[n, k, c] = p * raised + np.float32(SKULL_CENTRE[c])
    return out


@njit(cache=True)
def flatten_under_hat(points: NDArray, radius: NDArray, front: float, back: float, gap: float) -> None:
    """Press what lies above a hat's rim to at most `gap` mm above the skin; points (N, P, 3) mm, in place.

    front, back: the rim's heights y, mm, at forehead and back of the head. radius: the skull map.
    """
    cx, cy, cz = SKULL_CENTRE
    for n in range(points.shape[0]):
        for k in range(points.shape[1]):
            share = min(max((points[n, k, 2] + 170.0) / 190.0, 0.0), 1.0)
            if points[n, k, 1] > back + (front - back) * share - 3.0:
                x, y, z = points[n, k, 0] - cx, points[n, k, 1] - cy, points[n, k, 2] - cz
                r = np.sqrt(x * x + y * y + z * z) + 1e-9
                scale = min((_surface_distance(radius, x, y, z, r) + gap) / r, 1.0)
                points[n, k, 0], points[n, k, 1], points[n, k, 2] = cx + x * scale, cy + y * scale, cz + z * scale


def ribbons(guides: NDArray, half_width: float, stride: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices and triangles of flat bands along guides (G, P, 3), every `stride`-th point: what casts their shadow."""
    path = guides[:, ::stride]
    outward = path - np.float32(SKULL_CENTRE)
    across = np.cross(np.gradient(path, axis=1), outward)
    across *= half_width / (np.linalg.norm(across, axis=2, keepdims=True) + 1e-6)
    count, points = path.shape[:2]
    vertices = np.stack([path - across, path + across], 2).reshape(-1, 3).astype(np.float32)
    first = (np.arange(count)[:, None] * points + np.arange(points - 1)).ravel() * 2
    a = np.stack([first, first + 1, first + 3], 1)
    b = np.stack([first, first + 3, first + 2], 1)
    return vertices, np.concatenate([a, b]).astype(np.int32)
