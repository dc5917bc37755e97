"""Things in front of the face: hands, microphones, cups, telephones and masks as geometry, and plain blobs."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.hands import GESTURES, HOLD, Bearer, Gesture, hand_mesh
from facerecon.synthesis.head_surface import CLASS
from facerecon.synthesis.palettes import cloth_colour, from_hsv
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.rendering import Rendering
from facerecon.synthesis.shapes import Mesh, coloured, grid_triangles, lathe, rounded_box, tube, unit

# Share of photographs with each kind of occluder; the rest has none.
OCCLUDERS: dict[str, float] = {
    "hand": 0.12, "hands": 0.015, "microphone": 0.035, "cup": 0.025, "telephone": 0.03, "mask": 0.04, "blob": 0.03,
}  # fmt: skip
HELD_BY_HAND = ("hand", "hands", "microphone", "cup", "telephone")
MASK_ROWS, MASK_COLUMNS = 25, 45
MASK_AXIS = -35.0  # mm, depth of the upright axis that a mask is wrapped around
MASK_SPAN = np.radians(76.0)


def sample_occluder(rng: Generator) -> str | None:
    """A kind of OCCLUDERS, or None."""
    draw = rng.random()
    for kind, share in OCCLUDERS.items():
        draw -= share
        if draw < 0.0:
            return kind
    return None


def occluder_meshes(rng: Generator, kind: str, bearer: Bearer) -> list[Mesh]:
    """Meshes of an occluder, labelled background; a blob has none (`draw_blob`)."""
    left = chance(rng, 0.5)
    if kind == "hand":
        name = list(GESTURES)[rng.integers(len(GESTURES))]
        return [hand_mesh(rng, GESTURES[name], left, bearer)]
    if kind == "hands":
        name = ("cheek", "hair", "jaw", "forehead")[rng.integers(4)]
        return [hand_mesh(rng, GESTURES[name], side, bearer) for side in (False, True)]
    if kind == "microphone":
        return _microphone(rng, left, bearer)
    if kind == "cup":
        return _cup(rng, left, bearer)
    if kind == "telephone":
        return _telephone(rng, left, bearer)
    if kind == "mask":
        return _mask(rng, bearer)
    return []


def _holding(axis: NDArray, back: NDArray, left: bool) -> Gesture:
    """A grip whose thumb points along `axis` of the thing held, with the back of the hand toward `back`."""
    mirror = np.array([1.0 if left else -1.0, 1.0, 1.0])
    across, outward = mirror * axis, mirror * back
    return replace(HOLD, fingers=tuple(np.cross(outward, across)), back=tuple(outward))


def _placed(points: NDArray, axis: NDArray, centre: NDArray) -> NDArray:
    """Points (N, 3) whose y axis is turned to the unit vector `axis`, moved to `centre`."""
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side) + 1e-9
    return points @ np.stack([side, axis, np.cross(side, axis)]) + centre


def _microphone(rng: Generator, left: bool, bearer: Bearer) -> list[Mesh]:
    mouth = bearer.landmarks[60:68].mean(0)
    side = 1.0 if left else -1.0
    axis = unit(np.array([-side * rng.uniform(0.0, 0.5), 0.85, -rng.uniform(0.2, 0.7)]))  # from the handle to the head
    head = mouth + [rng.normal(0.0, 12.0), rng.uniform(-45.0, -12.0), rng.uniform(32.0, 60.0)]
    radius = rng.uniform(20.0, 26.0)
    turns = np.linspace(-np.pi / 2, np.pi / 2, 12)
    ball = np.stack([radius * np.cos(turns), radius * np.sin(turns)], 1)
    handle = np.array(
        [[0.0, -205.0], [11.0, -204.0], [12.0, -190.0], [16.0, -30.0], [21.0, -14.0], [21.0, -6.0], [17.0, 0.0]]
    )
    dark, grey = np.full(3, rng.uniform(0.01, 0.06)), np.full(3, rng.uniform(0.05, 0.35))
    meshes = []
    for profile, colour, gloss in ((ball, grey, 0.1), (handle, dark, 0.15)):
        points, triangles = lathe(profile)
        meshes.append(coloured(_placed(points, axis, head), triangles, colour, CLASS["background"], gloss))
    if chance(rng, 0.8):
        grip = _holding(axis, unit(np.array([side, 0.1, 0.6])), left)
        meshes.append(hand_mesh(rng, grip, left, bearer, head - axis * rng.uniform(85.0, 120.0)))
    return meshes


def _cup(rng: Generator, left: bool, bearer: Bearer) -> list[Mesh]:
    mouth = bearer.landmarks[60:68].mean(0)
    side = 1.0 if left else -1.0
    tilt = rng.uniform(0.1, 1.1)
    axis = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    radius, height = rng.uniform(32.0, 44.0), rng.uniform(75.0, 120.0)
    glass = chance(rng, 0.2)
    rim = np.array([0.0, -axis[2], axis[1]]) * -radius  # the rim's point next to the mouth
    top = mouth + [rng.normal(0.0, 6.0), rng.uniform(-14.0, 0.0), rng.uniform(4.0, 10.0)] - rim
    narrow = rng.uniform(0.7, 1.0)
    profile = np.array(
        [
            [0.0, 0.0],
            [narrow * radius, 0.0],
            [radius, height],
            [radius - 3.0, height],
            [narrow * radius - 3.0, 4.0],
            [0.0, 4.0],
        ]
    )
    profile[:, 1] -= height
    points, triangles = lathe(profile, 32)
    colour = np.full(3, rng.uniform(0.3, 0.6)) if glass else cloth_colour(rng)
    meshes = [coloured(_placed(points, axis, top), triangles, colour, CLASS["background"], 0.2)]
    grip = replace(
        _holding(axis, unit(np.array([side, -0.1, 0.3])), left), bends=("wide",), at=(6.0, 92.0, -radius - 9.0)
    )
    meshes.append(hand_mesh(rng, grip, left, bearer, top - axis * height * rng.uniform(0.45, 0.7)))
    return meshes


def _telephone(rng: Generator, left: bool, bearer: Bearer) -> list[Mesh]:
    side = 1.0 if left else -1.0
    ear = bearer.ears[1 if left else 0] + [side * 12.0, -22.0, 8.0]
    chin = bearer.landmarks[12 if left else 4] + [side * 22.0, -6.0, 12.0]
    axis = unit(ear - chin)
    points, triangles = rounded_box((rng.uniform(33.0, 38.0), rng.uniform(68.0, 80.0), 4.5))
    normal = unit(np.cross(axis, [0.0, 0.0, 1.0]) * side)
    frame = np.stack([np.cross(axis, normal), axis, normal])
    centre = 0.5 * (ear + chin)
    colour = np.full(3, rng.uniform(0.01, 0.05)) if chance(rng, 0.6) else cloth_colour(rng)
    meshes = [coloured(points @ frame + centre, triangles, colour, CLASS["background"], 0.3)]
    gesture = replace(
        HOLD,
        bends=("curled", "grip"),
        at=(5.0, 85.0, -26.0),
        back=(0.85, -0.1, 0.3),
        fingers=(0.1, 0.75, 0.5),
        jitter=0.15,
    )
    meshes.append(hand_mesh(rng, gesture, left, bearer, centre + normal * 4.0 - axis * 14.0))
    return meshes


def _mask(rng: Generator, bearer: Bearer) -> list[Mesh]:
    """A medical or cloth mask stretched from the nose to below the chin, with bands to the ears."""
    points = bearer.landmarks
    azimuth = np.linspace(-MASK_SPAN, MASK_SPAN, MASK_COLUMNS)
    sideways = np.abs(np.sin(azimuth)) / np.sin(MASK_SPAN)
    slip = rng.uniform(-22.0, 6.0) if chance(rng, 0.3) else rng.uniform(-6.0, 6.0)
    top = points[28, 1] + slip + (points[[2, 14], 1].mean() + 4.0 - points[28, 1]) * sideways**1.2
    bottom = points[8, 1] - 6.0 + (points[[3, 13], 1].mean() + 2.0 - points[8, 1]) * sideways**2
    share = np.linspace(0.0, 1.0, MASK_ROWS)[:, None]
    height = top + (bottom - top) * share
    radius = _outer_radius(bearer.skin, azimuth, height) + rng.uniform(1.5, 3.0)
    grid = np.stack([np.sin(azimuth) * radius, height, MASK_AXIS + np.cos(azimuth) * radius], -1)
    kind = rng.random()
    if kind < 0.55:
        colour = from_hsv(rng.normal(200, 12), rng.uniform(0.08, 0.45), rng.uniform(0.75, 0.95))
    elif kind < 0.75:
        colour = np.full(3, rng.uniform(0.6, 0.8), np.float32)
    else:
        colour = cloth_colour(rng)
    shade = np.ones((MASK_ROWS, MASK_COLUMNS, 1))
    if kind < 0.75:  # pleats, and the seams along the edges
        for row in (8, 13, 18):
            shade[row] *= 0.78
            shade[row + 1] *= 1.06
        shade[[0, 1, -1]] *= 0.93
        grid[..., 2] += 1.2 * np.sin(share * 12.0)
    shade *= np.exp(rng.normal(0.0, 0.02, shade.shape))
    mesh = coloured(grid.reshape(-1, 3), grid_triangles(MASK_ROWS, MASK_COLUMNS), colour, CLASS["background"])
    mesh = replace(mesh, colours=np.clip(mesh.colours * shade.reshape(-1, 1), 0.0, 0.9).astype(np.float32))
    bands = []
    for column, ear in ((0, bearer.ears[0]), (MASK_COLUMNS - 1, bearer.ears[1])):
        side = -1.0 if column == 0 else 1.0
        for row, below in ((0, 4.0), (MASK_ROWS - 1, 48.0)):
            end = ear + [side * 1.5, -below, -4.0]
            path = np.linspace(grid[row, column], end, 8)
            path[:, 0] += side * 3.0 * np.sin(np.linspace(0.0, np.pi, 8))
            bands.append(coloured(*tube(path, 1.1), np.minimum(colour * 1.1, 0.8), CLASS["background"]))
    return [mesh, *bands]


def _outer_radius(skin: NDArray, azimuth: NDArray, height: NDArray) -> NDArray[np.float64]:
    """(rows, columns) distance from the upright axis of a cloth stretched over the skin.

    Each column is the upper convex envelope of the face's profile, so cloth bridges from nose to chin.
    """
    own = np.arctan2(skin[:, 0], skin[:, 2] - MASK_AXIS)
    reach = np.hypot(skin[:, 0], skin[:, 2] - MASK_AXIS)
    rows, columns = height.shape
    radius = np.full((rows, columns), 0.0)
    column = np.round((own - azimuth[0]) / (azimuth[1] - azimuth[0])).astype(int)
    inside = (column >= 0) & (column < columns)
    at = column.clip(0, columns - 1)
    share = (skin[:, 1] - height[0, at]) / (height[-1, at] - height[0, at])
    row = np.round(share * (rows - 1)).astype(int)
    inside &= (row >= 0) & (row < rows)
    np.maximum.at(radius, (row[inside], at[inside]), reach[inside])
    known = radius > 0.0
    for k in range(columns):
        if known[:, k].sum() > 1:
            radius[:, k] = np.interp(np.arange(rows), np.flatnonzero(known[:, k]), radius[known[:, k], k])
        elif k:
            radius[:, k] = radius[:, k - 1]
    position = np.arange(rows)
    envelope = radius.copy()
    for i in range(rows):
        for j in range(i + 2, rows):
            between = (position[i + 1 : j] - i)[:, None] / (j - i)
            chord = radius[i] + (radius[j] - radius[i]) * between
            np.maximum(envelope[i + 1 : j], chord, out=envelope[i + 1 : j])
    outer = cv2.dilate(envelope, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(outer, (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE)


def draw_blob(
    rng: Generator, image: NDArray[np.float32], rendering: Rendering, face_box: NDArray
) -> tuple[NDArray[np.float32], Rendering]:
    """One soft-edged polygon or rod of a muted colour over the face: a leaf, a twig, somebody's shoulder, a finger.

    image: (S, S, 3) sRGB of the rendering. face_box: x0, y0, x1, y1 pixels. Returns the image and the rendering, whose
    labels are background and whose depth is 0 where the blob hides it; radiance is left.
    """
    size = image.shape[0]
    face = float(max(face_box[2:] - face_box[:2]))
    mask = np.zeros((size, size), np.uint8)
    if chance(rng, 0.4):
        ends = rng.uniform(face_box[:2] - 0.4 * face, face_box[2:] + 0.4 * face, (2, 2)).astype(int)
        cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 255, int(face * rng.uniform(0.02, 0.14)) + 1, cv2.LINE_AA)
    else:
        centre = rng.uniform(face_box[:2], face_box[2:])
        corners = int(rng.integers(5, 14))
        angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, corners))
        radius = face * rng.uniform(0.07, 0.3) * rng.uniform(0.3, 1.0, 2)
        ring = np.stack([np.cos(angle), np.sin(angle)], 1) * radius * rng.uniform(0.6, 1.4, (corners, 1))
        cv2.fillPoly(mask, [(centre + ring).astype(np.int32)], 255, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 4.0) * size / 256.0)[..., None] / np.float32(255.0)
    colour = np.sqrt(cloth_colour(rng))
    row, column = np.mgrid[0:size, 0:size] / size
    shade = 1.0 + rng.uniform(0.0, 0.4) * np.cos(rng.uniform(2.0, 9.0) * row + rng.uniform(2.0, 9.0) * column)
    hidden = alpha[..., 0] > 0.5
    rendering = replace(
        rendering,
        labels=np.where(hidden, np.uint8(CLASS["background"]), rendering.labels),
        covered=rendering.covered | hidden,
        depth=np.where(hidden, np.float32(0.0), rendering.depth),
        opacity=1.0 - (1.0 - rendering.coverage()) * (1.0 - alpha[..., 0]),
    )
    return (image * (1.0 - alpha) + colour * shade[..., None] * alpha).astype(np.float32), rendering
