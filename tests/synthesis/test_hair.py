"""Hair, beards and headwear: where strands lie, how they are drawn, and that they belong to the person."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from facerecon.morphable.head import HeadIdentity
from facerecon.morphable.skin import sample_skin
from facerecon.morphable.storage import load_open_model
from facerecon.synthesis.beards import FacialHair, beard_growth, beard_layers, facial_hair_paint, sample_facial_hair
from facerecon.synthesis.hair import HairLayers, hair_layers
from facerecon.synthesis.hair_rendering import composite_hair
from facerecon.synthesis.hair_styles import (
    KINDS,
    HairStyle,
    growth,
    mixed_colours,
    sample_hair_colour,
    sample_hair_style,
    scalp_paint,
)
from facerecon.synthesis.head_surface import CLASS, HeadSurface, load_head_surface
from facerecon.synthesis.headwear import KINDS as HATS
from facerecon.synthesis.headwear import UNDER_HOOD, headwear
from facerecon.synthesis.rendering import Camera, Rendering
from facerecon.synthesis.strands import SKULL_CENTRE, Strands, skin_distance, skull_map

SIZE = 96


@pytest.fixture(scope="module")
def surface() -> HeadSurface:
    return load_head_surface()


@pytest.fixture(scope="module")
def landmarks(surface) -> np.ndarray:
    return np.asarray(load_open_model().landmark_operator @ surface.generator.template[surface.generator.face_vertices])


def identity(**changes) -> HeadIdentity:
    plain = HeadIdentity(
        sex=0.0, age=30.0, ancestry=np.array([0.0, 0.0, 1.0]), muscle=0.5, weight=0.5, height=0.5, proportions=0.5,
        local=np.zeros(1), asymmetry=np.zeros(1),
    )  # fmt: skip
    return replace(plain, **changes)


def style_of(kind: str, **changes) -> HairStyle:
    rng = np.random.default_rng(0)
    for _ in range(4000):
        style = sample_hair_style(rng, identity(ancestry=np.array([0.4, 0.2, 0.4])))
        if style.kind == kind:
            return replace(style, **changes)
    raise AssertionError(f"no {kind} in 4000 draws")


def plain_light() -> SimpleNamespace:
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = 1.0
    return SimpleNamespace(ambient=ambient, direction=np.float32([0.0, 0.0, 1.0]), colour=np.full(3, 0.5, np.float32))


def empty_scene(depth: float = np.inf) -> Rendering:
    covered = np.full((SIZE, SIZE), np.isfinite(depth))
    labels = np.where(covered, CLASS["skin"], 0).astype(np.uint8)
    radiance = np.where(covered[..., None], 0.4, 0.0) * np.ones(3)
    return Rendering(radiance.astype(np.float32), labels, covered, np.full((SIZE, SIZE), depth, np.float32))


def camera() -> Camera:
    return Camera(np.eye(3, dtype=np.float32), np.float32([0, 0, 500]), 500.0, np.full(2, SIZE / 2, np.float32))


def bar(half_width: float = 6.0, z: float = 0.0, opacity: float = 1.0, label: int | None = CLASS["hair"]) -> Strands:
    """One upright strand through the picture's middle; a millimetre is a pixel at z 0."""
    y = np.linspace(30.0, -30.0, 5)
    points = np.stack([0.5 + 0.0 * y, y, np.full(5, z)], 1)[None].astype(np.float32)
    return Strands(
        points, np.float32([half_width]), np.float32([[0.2, 0.1, 0.05]]), np.float32([opacity]), np.ones(1, np.float32),
        label,
    )  # fmt: skip


def drawn(scene: Rendering, *strands: Strands) -> Rendering:
    return composite_hair(np.random.default_rng(0), scene, HairLayers(list(strands), []), camera(), plain_light(), SIZE)


def test_a_strand_covers_its_width_and_takes_label_and_depth():
    scene = empty_scene(500.0)
    result = drawn(scene, bar(z=40.0))
    row = result.labels[SIZE // 2]
    assert 8 <= (row == CLASS["hair"]).sum() <= 14  # 12 mm, nearer than the skin and tapered
    assert result.depth[SIZE // 2, SIZE // 2] == pytest.approx(460.0, abs=1.0)
    assert result.radiance[SIZE // 2, SIZE // 2].mean() < 0.3 and result.radiance[0, 0] == pytest.approx(0.4)
    assert (scene.labels == CLASS["skin"]).all() and (scene.radiance == np.float32(0.4)).all()  # left as they were


def test_hair_behind_the_scene_is_hidden_and_a_faint_one_mixes():
    assert (drawn(empty_scene(500.0), bar(z=-40.0)).labels == CLASS["skin"]).all()
    faint = drawn(empty_scene(500.0), bar(z=40.0, opacity=0.3))
    assert (faint.labels == CLASS["skin"]).all()
    full = drawn(empty_scene(500.0), bar(z=40.0))
    at = (SIZE // 2 - 15, SIZE // 2)
    assert full.radiance[at].mean() < faint.radiance[at].mean() < 0.4


def test_hair_before_the_background_is_partly_opaque_and_keeps_its_colour():
    result = drawn(empty_scene(), bar(half_width=2.3))
    row = result.opacity[SIZE // 2]
    assert row.max() > 0.9 and ((row > 0.02) & (row < 0.9)).any() and row[0] == 0.0
    inside = result.radiance[SIZE // 2][row > 0.02]
    assert np.ptp(inside[:, 0]) < 1e-3 * inside[:, 0].max() + 1e-3  # not darkened towards the soft edge


def test_unlabelled_strands_leave_labels_and_depth():
    result = drawn(empty_scene(500.0), bar(z=40.0, label=None))
    assert (result.labels == CLASS["skin"]).all() and (result.depth == 500.0).all()


def test_the_skull_map_finds_the_skin(surface):
    radius = skull_map(surface, surface.template, with_ears=False)
    top = surface.template[np.argmax(surface.template[:, 1])]
    away = (top - SKULL_CENTRE) / np.linalg.norm(top - SKULL_CENTRE)
    assert skin_distance(radius, away[None])[0] == pytest.approx(np.linalg.norm(top - SKULL_CENTRE), abs=4.0)
    with_ears = skull_map(surface, surface.template, with_ears=True)
    assert (with_ears >= radius - 1.0).mean() > 0.95 and (with_ears - radius).max() > 8.0


@pytest.mark.parametrize("kind", KINDS)
def test_strands_of_every_cut_stay_outside_the_head(surface, landmarks, kind):
    layers = hair_layers(np.random.default_rng(1), surface, surface.template, style_of(kind, tucked=True), landmarks)
    points = layers.strands[0].points
    assert np.isfinite(points).all() and len(points) > 1000
    away = points.reshape(-1, 3) - np.float32(SKULL_CENTRE)
    away = away[away[:, 1] > -40.0]
    distance = np.linalg.norm(away, axis=1)
    skin = skin_distance(skull_map(surface, surface.template, False), away / distance[:, None])
    assert (distance > skin - 6.0).mean() > 0.93
    assert all(len(mesh.labels) == len(mesh.triangles) for mesh in layers.casters)


def test_hair_of_a_person_is_the_same_in_each_photograph(surface, landmarks):
    style = style_of("side")
    first, second, other = (
        hair_layers(np.random.default_rng(seed), surface, surface.template, cut, landmarks).strands[0]
        for seed, cut in ((1, style), (2, style), (1, replace(style, seed=style.seed + 1)))
    )
    assert np.array_equal(first.colours, second.colours) and np.array_equal(first.points[:, 0], second.points[:, 0])
    assert 0.0 < np.abs(first.points - second.points).mean() < 4.0
    assert not np.array_equal(first.points[:1000, 0], other.points[:1000, 0])


def test_a_bald_head_has_no_strands_and_a_long_cut_reaches_the_shoulders(surface, landmarks):
    rng = np.random.default_rng(0)
    assert not hair_layers(rng, surface, surface.template, HairStyle(None, np.zeros(3)), landmarks).strands
    for kind, low, high in (("long", -400.0, -110.0), ("crop", -110.0, 60.0)):
        strands = hair_layers(rng, surface, surface.template, style_of(kind), landmarks).strands[0]
        assert low < strands.points[..., 1].min() < high


def test_long_hair_glides_over_the_shoulders(surface, landmarks):
    """A slab below the neck: where hair would hang it now lies before or behind the slab."""
    x, y, z = np.meshgrid(np.arange(-200, 200, 6.0), np.arange(-400, -130, 6.0), (-165.0, -95.0), indexing="ij")
    slab = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    style = replace(style_of("long"), length=420.0, sides=380.0, clump=0.9, mess=1.0)
    inside = []
    for body in (None, slab):
        layers = hair_layers(np.random.default_rng(3), surface, surface.template, style, landmarks, body=body)
        px, py, pz = layers.strands[0].points.reshape(-1, 3).T
        low = (np.abs(px) < 180.0) & (py < -230.0) & (py > -390.0)
        inside.append((np.abs(pz[low] + 130.0) < 25.0).mean())
    assert inside[0] > 0.3 and inside[1] < 0.3 * inside[0]


def test_a_hat_presses_the_hair_and_a_loose_wisp_crosses_the_face(surface, landmarks):
    def before_the_face(**options) -> int:
        layers = hair_layers(np.random.default_rng(3), surface, surface.template, style, landmarks, **options)
        x, y, z = layers.strands[0].points.reshape(-1, 3).T
        return int(((np.abs(x) < 35.0) & (y < 50.0) & (y > -60.0) & (z > 0.0)).sum())

    style = style_of("swept", fringe=0.0)
    assert before_the_face() < 60 and before_the_face(loose=True) > 100
    afro = style_of("afro")
    heights = []
    for rim in (None, (80.0, 40.0)):
        layers = hair_layers(np.random.default_rng(3), surface, surface.template, afro, landmarks, rim)
        heights.append(layers.strands[0].points[..., 1].max())
    assert heights[1] < surface.template[:, 1].max() + 8.0 < heights[0]


def test_the_hairline_recedes_and_the_top_grows_bald(surface):
    style = style_of("crop", hairline=0.0, recession=0.0, balding=0.0)
    temple, top, back = np.array([[40.0, 95.0, -5.0], [0.0, 155.0, -80.0], [0.0, 60.0, -168.0]])
    points = np.stack([temple, top, back])
    assert growth(points, style)[1:] == pytest.approx([1.0, 1.0], abs=0.05)
    assert growth(points, replace(style, recession=25.0))[0] < 0.2 < growth(points, style)[0]
    bald = growth(points, replace(style, balding=1.0))
    assert bald[1] < 0.1 and bald[2] > 0.8
    paint = scalp_paint(surface, style)
    assert paint.max() <= style.stubble and paint[surface.template[:, 1] < -50.0].max() == 0.0


def test_colours_are_natural_and_follow_ancestry_and_age():
    rng = np.random.default_rng(0)
    african = [sample_hair_colour(rng, identity(ancestry=np.array([1.0, 0.0, 0.0]), age=25.0)) for _ in range(200)]
    european = [sample_hair_colour(rng, identity(age=25.0)) for _ in range(200)]
    old = [sample_hair_colour(rng, identity(age=80.0, sex=1.0))[1] for _ in range(100)]
    brightness = [np.median([colour.mean() for colour, _ in drawn]) for drawn in (african, european)]
    assert brightness[0] < 0.025 < brightness[1]
    assert max(grey for _, grey in african) == 0.0 and np.mean(old) > 0.5
    warm = np.mean([colour[0] >= colour[1] >= colour[2] * 0.9 for colour, _ in european])
    assert warm > 0.95
    grey = mixed_colours(rng, np.float32([0.02, 0.015, 0.01]), 1.0, 50)
    assert grey.mean() > 0.35 and np.ptp(grey, axis=1).max() < 0.1


def bearded(**changes) -> FacialHair:
    rng = np.random.default_rng(1)
    man = identity(sex=1.0)
    style = sample_facial_hair(rng, man, sample_hair_style(rng, man), sample_skin(rng, man))
    return replace(style, **({"cut": "full", "density": 0.9, "length": 8.0, "moustache": 6.0} | changes))


def test_beards_grow_on_chin_and_lip_of_men_only(surface):
    rng = np.random.default_rng(0)
    woman, bald = identity(), HairStyle(None, np.full(3, 0.1))
    assert all(sample_facial_hair(rng, woman, bald, sample_skin(rng, woman)).cut is None for _ in range(20))
    points = np.array([[0.0, -60.0, 10.0], [8.0, -15.0, 25.0], [0.0, 80.0, 20.0], [0.0, -30.0, 25.0]])
    beard, moustache = beard_growth(points, np.array([0.0, 0.0, 0.0, 1.0]), bearded())
    assert beard[0] > 0.6 and moustache[1] > 0.6 and max(beard[2:].max(), moustache[2:].max()) < 0.05
    assert beard_growth(points, np.zeros(4), bearded(cut="moustache"))[0].max() == 0.0
    paint = facial_hair_paint(surface, bearded())
    assert paint.max() > 0.3 and paint[surface.template[:, 1] > 40.0].max() == 0.0
    assert facial_hair_paint(surface, bearded(cut=None)).max() == 0.0


def test_beard_and_brow_strands_start_on_the_skin_and_have_their_length(surface):
    brows, beard = beard_layers(
        np.random.default_rng(0), surface, surface.template, bearded(length=8.0, curl=0.0)
    ).strands
    assert brows.label is None and beard.label is None
    assert np.median(np.abs(brows.points[:, 0, 1] - 57.0)) < 5.0 and len(brows.points) > 100
    run = np.linalg.norm(np.diff(beard.points, axis=1), axis=2).sum(1)
    assert 2.0 < np.median(run) < 12.0 and beard.points[:, 0, 1].max() < 30.0
    long = beard_layers(np.random.default_rng(0), surface, surface.template, bearded(length=60.0)).strands[1]
    assert long.points[..., 1].min() < beard.points[..., 1].min() - 25.0


@pytest.mark.parametrize("kind", HATS)
def test_hats_enclose_the_top_of_the_head_and_leave_the_face_free(surface, landmarks, kind):
    for seed in range(3):
        worn = headwear(np.random.default_rng(seed), kind, surface, surface.template, landmarks)
        mesh = worn.mesh
        assert np.isfinite(mesh.vertices).all() and mesh.triangles.max() < len(mesh.vertices)
        assert len(mesh.labels) == len(mesh.triangles) and len(mesh.colours) == len(mesh.vertices)
        assert mesh.colours.min() > 0.0 and mesh.colours.max() <= 1.0 and (mesh.labels == CLASS["hat"]).all()
        assert mesh.vertices[:, 1].max() > surface.template[:, 1].max()
        x, y, z = mesh.vertices.T
        eyes = landmarks[36:48]
        over_eyes = (np.abs(x) < 45.0) & (np.abs(y - eyes[:, 1].mean()) < 12.0) & (z > eyes[:, 2].min()) & (z < 40.0)
        assert not over_eyes.any()
        assert worn.hides_hair == (kind == "headscarf")
        assert (worn.rim[1] == UNDER_HOOD) == (kind in ("hood", "headscarf"))
