"""The photograph renderer against hand-computed values and what is known of faces and lights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facerecon.geometry.normals import vertex_normals
from facerecon.geometry.spherical_harmonics import sh_basis
from facerecon.render.rasterize import rasterize
from facerecon.render.shading import linear_to_srgb
from facerecon.synthesis.camera_effects import apply_camera, automatic_exposure
from facerecon.synthesis.eyes_and_mouth import GAZE_LIMIT, sample_gaze
from facerecon.synthesis.head_surface import CLASS, load_head_surface
from facerecon.synthesis.kernels import caster_shade, fused_vertex_normals, visible_triangles
from facerecon.synthesis.lashes import lash_strands
from facerecon.synthesis.lighting import Light, planck_colour, sample_light
from facerecon.synthesis.person import sample_person
from facerecon.synthesis.rendering import SHOULDER, Camera, cover_map, render_scene, tone_mapped
from facerecon.synthesis.shading_kernels import ATTRIBUTES, PLAIN, key_visibility, shade_pixels
from facerecon.synthesis.shapes import Mesh, grid_triangles, merge


@pytest.fixture(scope="module")
def surface():
    return load_head_surface()


@pytest.fixture(scope="module")
def person(surface):
    return sample_person(np.random.default_rng(4), surface)


def plane_light(direction=(0.0, 0.0, 1.0), shadow=1.0) -> Light:
    around = np.zeros((9, 3), np.float32)
    around[0] = 0.2
    return Light(around, np.asarray(direction, np.float32), np.ones(3, np.float32), shadow)


def front_camera(size: int, distance: float = 900.0) -> Camera:
    return Camera(np.eye(3, dtype=np.float32), np.float32([0.0, 0.0, distance]), 4.0 * size, np.full(2, size / 2.0))


def test_tone_curve_is_srgb_below_the_shoulder_and_never_clips_hard_above():
    linear = np.linspace(0.0, SHOULDER - 0.01, 1000)
    assert np.abs(tone_mapped(linear) - linear_to_srgb(linear)).max() < 0.5 / 255.0
    bright = tone_mapped(np.array([SHOULDER, 0.8, 1.2, 2.0, 50.0]))
    assert (np.diff(bright) > 0.0).all() and 0.98 < bright[-1] <= 1.0
    assert tone_mapped(np.array([np.nan, -np.inf, -1.0])) == pytest.approx([0.0, 0.0, 0.0])


def test_light_coefficients_of_a_single_lamp_reproduce_lambert():
    """At cosine c SH of order 2 give 1/4 + c/2 + 5/32 (3 c^2 - 1) for max(c, 0) (Ramamoorthi and Hanrahan 2001)."""
    direction = np.array([0.6, 0.0, 0.8], np.float32)
    light = Light(np.zeros((9, 3), np.float32), direction, np.ones(3, np.float32), 0.0)
    normals = np.array([[0.6, 0.0, 0.8], [-0.6, 0.0, -0.8], [0.0, 1.0, 0.0]])
    shading = (sh_basis(normals) @ light.coefficients())[:, 0]
    assert shading == pytest.approx([1.0625, 0.0625, 0.09375], abs=1e-3)


def test_sampled_lights_are_plausible():
    lights = [sample_light(np.random.default_rng(seed)) for seed in range(200)]
    for light in lights:
        assert np.isfinite(light.coefficients()).all() and 0.05 < light.level() < 2.0
        assert np.linalg.norm(light.direction) == pytest.approx(1.0, abs=1e-5)
        # After white balance a grey wall is nearly grey in any light.
        assert light.tint().max() / light.tint().min() < 2.0
    assert np.mean([light.direction[2] > 0 for light in lights]) > 0.85
    assert np.mean([light.direction[1] > 0 for light in lights]) > 0.9


def test_black_bodies_turn_from_red_to_blue():
    ratio = [planck_colour(kelvin)[2] / planck_colour(kelvin)[0] for kelvin in (2200.0, 3000.0, 5000.0, 9000.0)]
    assert (np.diff(ratio) > 0.0).all() and ratio[0] < 0.15 and ratio[-1] > 1.0


def test_normals_of_a_plane():
    x, y = np.meshgrid(np.arange(4.0), np.arange(4.0))
    plane = np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(np.float32)
    normals = fused_vertex_normals(plane, grid_triangles(4, 4))
    assert np.abs(normals) == pytest.approx(np.tile([0.0, 0.0, 1.0], (16, 1)))
    lonely = fused_vertex_normals(np.zeros((2, 3), np.float32), np.zeros((0, 3), np.int32))
    assert (lonely == 0).all()


def test_fused_normals_agree_with_the_plain_ones(surface):
    plain = vertex_normals(torch.from_numpy(surface.template)[None], surface.triangles)[0].numpy()
    assert np.abs(fused_vertex_normals(surface.template, surface.triangles) - plain).max() < 1e-3


def shade_plane(pixels, index, key, ambient_level=0.0):
    """Radiance of white plain triangles (two of three vertices each) that face the viewer."""
    triangles = np.arange(len(pixels), dtype=np.int32).reshape(-1, 3)
    count = len(pixels)
    attributes = np.zeros((count, ATTRIBUTES), np.float32)
    attributes[:, 0] = 1.0
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = ambient_level
    return shade_pixels(
        index, pixels, triangles, np.full(len(triangles), PLAIN, np.uint8), np.zeros((count, 3), np.float32),
        np.tile(np.float32([0.0, 0.0, 1.0]), (count, 1)), np.ones((count, 3), np.float32), attributes,
        np.zeros((2, 2, 4), np.float32), np.zeros(3, np.float32), np.zeros((2, 3), np.float32),
        np.zeros(21, np.float32), np.eye(3, dtype=np.float32), np.float32([1000.0, 2.0, 1.5, 1.0]), ambient, ambient,
        np.float32([0.0, 0.0, 1.0]), np.asarray(key, np.float32), 0.1, np.full((8, 8), -1e5, np.float32),
        np.eye(3, dtype=np.float32), 1.0, 1.0,
    )  # fmt: skip


def test_a_pixel_of_a_triangle_without_area_is_black():
    """The rasteriser rounds corners to its grid, so a triangle whose corners coincide can own a pixel."""
    pixels = np.array([[2.5, 1.5, 900.0]] * 3 + [[0.0, 0.0, 900.0], [6.0, 0.0, 900.0], [0.0, 6.0, 900.0]], np.float32)
    index = np.full((3, 4), -1, np.int32)
    index[1, 2], index[0, 0] = 0, 1
    radiance = shade_plane(pixels, index, np.ones(3))
    assert (radiance[1, 2] == 0).all()
    assert radiance[0, 0] == pytest.approx(np.full(3, 1.02))  # key light 1 and the least ambient light


def test_plain_surfaces_reflect_key_and_ambient_light():
    pixels = np.array([[0.0, 0.0, 900.0], [9.0, 0.0, 900.0], [0.0, 9.0, 900.0]], np.float32)
    index = np.zeros((3, 4), np.int32)
    level = 0.5 / sh_basis(np.array([0.0, 0.0, 1.0]))[0]
    radiance = shade_plane(pixels, index, [0.3, 0.2, 0.1], level)
    assert radiance == pytest.approx(np.broadcast_to([0.8, 0.7, 0.6], radiance.shape), abs=1e-5)


def test_shadow_comparisons_blend_from_lit_to_dark():
    heights = np.full((32, 32), -1e5, np.float32)
    heights[:, 16:] = 50.0
    one = np.float32(1.0)
    lit = [key_visibility(heights, np.float32(u), np.float32(0.0), np.float32(0.0), one, one) for u in np.arange(-6, 7)]
    assert lit[0] == 1.0 and lit[-1] == pytest.approx(0.0, abs=1e-5) and 0.2 < lit[6] < 0.8
    assert (np.diff(lit) <= 1e-6).all()
    level = key_visibility(heights, np.float32(6.0), np.float32(0.0), np.float32(50.0), one, one)
    assert level == 1.0  # a surface does not shade itself


def test_leaving_out_triangles_changes_nothing(surface):
    camera = front_camera(96)
    pixels = camera.project(surface.template)
    shown = visible_triangles(pixels, surface.triangles, np.zeros(0, bool), 96)
    assert len(shown) < 0.7 * len(surface.triangles)
    points = torch.from_numpy(pixels)[None]
    every, _ = rasterize(points, surface.triangles, 96, 96, cull=False)
    some, _ = rasterize(points, surface.triangles[shown], 96, 96, cull=False)
    assert (np.append(shown, -1)[some[0].numpy()] == every[0].numpy()).all()
    front = visible_triangles(pixels, surface.triangles, np.ones(len(surface.triangles), bool), 96)
    _, depth = rasterize(points, surface.triangles, 96, 96, cull=True)
    _, again = rasterize(points, surface.triangles[front], 96, 96, cull=True)
    assert len(front) < len(shown) and torch.equal(depth, again)


def test_casters_shade_without_being_seen(surface, person):
    camera, light = front_camera(64), plane_light((0.0, 0.0, 1.0))
    head = np.asarray(surface.operator @ person.neutral, np.float32)
    corners = np.float32([[-90.0, -90.0, 150.0], [0.0, -90.0, 150.0], [-90.0, 140.0, 150.0], [0.0, 140.0, 150.0]])
    board = Mesh(corners, grid_triangles(2, 2), np.ones((4, 3), np.float32), np.zeros(2, np.uint8))
    plain = render_scene(surface, person, head, [], camera, light, 64)
    shaded = render_scene(surface, person, head, [], camera, light, 64, casters=[board])
    assert (plain.labels == shaded.labels).all() and (plain.depth == shaded.depth).all()
    ratio = shaded.radiance[plain.labels > 0].mean(1) / plain.radiance[plain.labels > 0].mean(1)
    column = np.nonzero(plain.labels > 0)[1]
    assert np.median(ratio[column < 26]) < 0.6 and np.median(ratio[column > 38]) == pytest.approx(1.0, abs=0.02)


def test_strands_of_hair_throw_one_soft_shade_not_stripes():
    """Ribbons 3 mm wide every 6 mm before a plane take about half of its light, evenly."""
    strips = [
        Mesh(
            np.float32([[x, -80.0, 40.0], [x + 3.0, -80.0, 40.0], [x, 80.0, 40.0], [x + 3.0, 80.0, 40.0]]),
            grid_triangles(2, 2), np.ones((4, 3), np.float32), np.zeros(2, np.uint8),
        )
        for x in np.arange(-60.0, 0.0, 6.0)
    ]  # fmt: skip
    joined = merge(strips)
    shadow = cover_map(joined.vertices, joined.triangles, np.float32([0.0, 0.0, 1.0]), 76)
    x = np.linspace(-100.0, 100.0, 401, dtype=np.float32)
    points = np.stack([x, np.zeros_like(x), np.zeros_like(x)], 1)
    up = np.tile(np.float32([0.0, 0.0, 1.0]), (401, 1))

    def shade(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
        cover, heights, frame, scale = shadow
        return caster_shade(cover, heights, points, normal, frame, np.float32(scale), np.float32(3.0))

    on_plane = shade(points, up)
    inside = on_plane[(x > -50.0) & (x < -12.0)]
    assert inside.mean() == pytest.approx(0.5, abs=0.1) and inside.std() < 0.15
    assert (on_plane[(x < -75.0) | (x > 12.0)] == 0.0).all()
    assert (shade(points, -up) == 0.0).all() and (shade(points + np.float32([0.0, 0.0, 45.0]), up) == 0.0).all()


def test_skin_is_redder_where_light_fades(surface, person):
    """Subsurface scattering: along the terminator red outlasts blue."""
    camera, light = front_camera(96), plane_light((1.0, 0.0, 0.15), shadow=0.0)
    head = np.asarray(surface.operator @ person.neutral, np.float32)
    seen = render_scene(surface, person, head, [], camera, replace(light, ambient=0.0 * light.ambient), 96)
    skin = seen.radiance[seen.labels == CLASS["skin"]]
    level = skin[:, 1] / np.percentile(skin[:, 1], 95)
    red = skin[:, 0] / np.maximum(skin[:, 2], 1e-5)
    assert np.median(red[(level > 0.02) & (level < 0.15)]) > 1.2 * np.median(red[level > 0.6])


def test_gaze_moves_the_iris(surface, person):
    camera, light = front_camera(160), plane_light()
    head = np.asarray(surface.operator @ person.neutral, np.float32)
    eye = {}
    for side in (-0.4, 0.4):
        seen = render_scene(surface, person, head, [], camera, light, 160, gaze=np.array([side, 0.0]))
        at = np.argwhere(seen.labels == CLASS["l_eye"])
        dark = seen.radiance[at[:, 0], at[:, 1]].mean(1) < 0.15
        eye[side] = at[dark, 1].mean()
    assert eye[0.4] > eye[-0.4] + 1.0


def test_gazes_stay_in_the_eyes_range():
    rng = np.random.default_rng(0)
    angle = np.radians(60.0)
    turned = np.array([[np.cos(angle), 0.0, np.sin(angle)], [0.0, 1.0, 0.0], [-np.sin(angle), 0.0, np.cos(angle)]])
    gazes = np.array([sample_gaze(rng, rotation) for rotation in (np.eye(3), turned) for _ in range(100)])
    assert np.linalg.norm(gazes, axis=1).max() <= GAZE_LIMIT + 1e-6


def test_head_classes_are_where_they_belong(surface):
    centre = surface.triangle_centre
    where = {name: centre[surface.triangle_class == k] for name, k in CLASS.items()}
    assert where["l_eye"][:, 0].min() > 0 > where["r_eye"][:, 0].max()
    assert where["l_ear"][:, 0].min() > 0 > where["r_ear"][:, 0].max()
    assert where["u_lip"][:, 1].mean() > where["l_lip"][:, 1].mean()
    assert where["nose"][:, 2].max() == pytest.approx(surface.template[:, 2].max(), abs=1.0)
    assert where["neck"][:, 1].mean() < where["l_lip"][:, 1].min()


def test_ambient_visibility_is_full_on_the_forehead_and_small_in_the_mouth(surface):
    forehead = surface.template[:, 1] > np.percentile(surface.template[:, 1], 97)
    assert surface.occlusion[forehead & surface.is_part("skin")].mean() > 0.9
    assert surface.occlusion[surface.is_part("mouth_cavity")].mean() < 0.3


def test_lashes_are_rooted_on_the_lids(surface, person):
    strands = lash_strands(surface, person.neutral, person.eyes)
    lids = surface.operator @ person.neutral
    lids = lids[surface.shading[:, 3] > 0.2]
    to_lid = np.linalg.norm(strands.points[:, :1] - lids[None], axis=2).min(1)
    assert np.median(to_lid) < 4.0
    length = np.linalg.norm(strands.points[:, -1] - strands.points[:, 0], axis=1)
    assert 2.0 < np.median(length) < 12.0


def test_automatic_exposure_keeps_dark_skin_darker_but_lifts_it():
    rng = np.random.default_rng(0)
    level = {}
    for albedo in (0.06, 0.5):
        gains = [automatic_exposure(rng, np.full((10, 3), albedo * light), light) for light in (0.1, 1.0) * 200]
        level[albedo] = np.median(np.array(gains).reshape(-1, 2) * [albedo * 0.1, albedo], axis=0)
    assert level[0.06] == pytest.approx([level[0.06].mean()] * 2, rel=0.15)  # whatever the light
    assert 1.5 < level[0.5].mean() / level[0.06].mean() < 0.5 / 0.06 * 0.7
    assert 0.25 < level[0.5].mean() < 0.6


def test_cameras_are_seeded_and_mostly_mild():
    image = np.random.default_rng(1).random((12, 12, 3)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    first = apply_camera(np.random.default_rng(3), image.copy())
    assert first.dtype == np.uint8 and (first == apply_camera(np.random.default_rng(3), image.copy())).all()
    taken = [apply_camera(np.random.default_rng(k), image.copy()) / 255.0 for k in range(60)]
    change = [np.abs(picture - image).mean() for picture in taken]
    assert np.median(change) < 0.1
    gray = [np.ptp(picture, axis=2).mean() < 0.12 for picture in taken]
    assert 0 < sum(gray) < 15
