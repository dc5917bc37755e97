"""Clothes, glasses, hands, occluders and backgrounds."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from facerecon.errors import InputError
from facerecon.morphable.storage import load_open_model
from facerecon.synthesis.backgrounds import SCENES, TEXTURES, background_pictures, sample_background
from facerecon.synthesis.bust import person_bust, place_bust
from facerecon.synthesis.clothing import BODY, KINDS, PATTERNS, bust_meshes, dress, sample_outfit
from facerecon.synthesis.glasses import OUTLINES, look_through, sample_glasses
from facerecon.synthesis.growth import neutral_head
from facerecon.synthesis.hands import BENDS, GESTURES, Bearer, HandLook, bend, hand_mesh, hand_shape
from facerecon.synthesis.head_surface import CLASS, load_head_surface
from facerecon.synthesis.jewellery import ear_lobes, sample_earrings
from facerecon.synthesis.kernels import fused_vertex_normals
from facerecon.synthesis.lighting import sample_light
from facerecon.synthesis.occluders import OCCLUDERS, draw_blob, occluder_meshes, sample_occluder
from facerecon.synthesis.photographs import ear_tops
from facerecon.synthesis.population import sample_identity
from facerecon.synthesis.rendering import Camera, Rendering
from facerecon.synthesis.shapes import Mesh, lathe, rounded_box, tube

SKIN = np.float32([0.4, 0.28, 0.2])
SIZE = 128


@pytest.fixture(scope="module")
def surface():
    return load_head_surface()


@pytest.fixture(scope="module")
def identity(surface):
    return replace(sample_identity(np.random.default_rng(3), surface.generator), age=30.0)


@pytest.fixture(scope="module")
def bearer(surface, identity) -> Bearer:
    coarse = neutral_head(surface.generator, identity)
    head = np.asarray(surface.operator @ coarse, np.float32)
    landmarks = np.asarray(load_open_model().landmark_operator @ coarse[surface.generator.face_vertices])
    skin = np.flatnonzero(surface.is_part("skin"))[::3]
    normals = fused_vertex_normals(head, surface.triangles)[skin]
    elbows = np.array([[-250.0, -350.0, 80.0], [250.0, -350.0, 80.0]])
    return Bearer(
        landmarks, head[skin], normals, ear_tops(surface, head), elbows, 1.0, 30.0, HandLook(SKIN, SKIN, 60.0)
    )


def camera() -> Camera:
    return Camera(np.eye(3, dtype=np.float32), np.float32([0.0, 0.0, 900.0]), 3.0 * SIZE, np.full(2, SIZE / 2.0))


def assert_sound(mesh: Mesh) -> None:
    assert np.isfinite(mesh.vertices).all() and mesh.triangles.min() >= 0 and mesh.triangles.max() < len(mesh.vertices)
    assert len(mesh.labels) == len(mesh.triangles) and len(mesh.colours) == len(mesh.vertices)
    assert mesh.colours.min() >= 0.0 and mesh.colours.max() <= 1.0
    for own, count in ((mesh.skin, len(mesh.triangles)), (mesh.visibility, len(mesh.vertices))):
        assert own is None or len(own) == count


def test_solids_have_the_sizes_asked_for():
    points, triangles = tube(np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [20.0, 0.0, 0.0]]), 2.0)
    assert np.hypot(points[:, 1], points[:, 2]) == pytest.approx(2.0) and triangles.max() < len(points)
    points, _ = lathe(np.array([[3.0, 0.0], [5.0, 7.0]]))
    assert np.hypot(points[:, 0], points[:, 2]).max() == pytest.approx(5.0) and points[:, 1].max() == 7.0
    points, _ = rounded_box((3.0, 4.0, 5.0))
    assert np.abs(points).max(0) == pytest.approx([3.0, 4.0, 5.0], rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_covers_the_chest_and_bares_the_throat_unless_it_is_high(surface, identity, kind):
    """The chest is covered whoever wears it: the bust has no anatomy to show."""
    rng = np.random.default_rng(5)
    placed = place_bust(person_bust(identity), neutral_head(surface.generator, identity), np.eye(3))
    outfit = next(outfit for outfit in (sample_outfit(rng, k % 2 == 0) for k in range(2000)) if outfit.kind == kind)
    for mesh in bust_meshes(outfit, placed, SKIN):
        assert_sound(mesh)
    chest, throat = np.array([[x, -200.0, 80.0] for x in (-60.0, 0.0, 60.0)]), np.array([[0.0, -35.0, 40.0]])
    points = (np.concatenate([chest, throat]) + placed.origin).astype(np.float32)
    pixels = camera().project(points)
    column, row = np.floor(pixels[:, :2]).astype(int).T
    labels, depth = np.zeros((2 * SIZE, 2 * SIZE), np.uint8), np.full((2 * SIZE, 2 * SIZE), np.inf, np.float32)
    labels[row, column], depth[row, column] = BODY, pixels[:, 2]
    radiance = np.full((2 * SIZE, 2 * SIZE, 3), 0.5, np.float32)
    dressed = dress(Rendering(radiance, labels, labels > 0, depth), camera(), outfit, placed, SKIN)
    assert (dressed.labels[row[:3], column[:3]] == CLASS["cloth"]).all()
    high = kind in ("turtleneck",)
    assert dressed.labels[row[3], column[3]] == (CLASS["cloth"] if high else CLASS["neck"])
    assert (dressed.radiance[row[3], column[3]] == 0.5).all() or high


def test_outfits_use_all_patterns():
    rng = np.random.default_rng(0)
    outfits = [sample_outfit(rng, k % 2 == 0) for k in range(500)]
    assert {outfit.pattern for outfit in outfits} == set(PATTERNS) and {outfit.kind for outfit in outfits} == set(KINDS)
    assert np.median([outfit.colour.mean() for outfit in outfits]) < 0.4


def test_frames_stand_before_the_eyes_and_rest_on_the_ears(bearer):
    for seed in range(12):
        glasses = sample_glasses(np.random.default_rng(seed), bearer.landmarks, bearer.ears)
        assert_sound(glasses.frame)
        assert (glasses.frame.labels == CLASS["eye_g"]).all()
        for lens, eye, side in zip(glasses.lenses, (slice(36, 42), slice(42, 48)), (-1.0, 1.0), strict=True):
            eyes = bearer.landmarks[eye]
            assert lens.outline[:, 2].min() > eyes[:, 2].mean() + 3.0
            assert side * lens.centre[0] > 0 and (np.abs(lens.outline - lens.centre)[:, :2] < 45.0).all()
            inside = (lens.outline[:, :2].min(0) < eyes[:, :2]) & (eyes[:, :2] < lens.outline[:, :2].max(0))
            assert inside.mean() > 0.7
        distance = np.linalg.norm(glasses.frame.vertices[:, None] - bearer.ears[None], axis=2).min(0)
        assert (distance < 12.0).all()
    assert len(OUTLINES) >= 6


@pytest.mark.parametrize("dark", [False, True])
def test_lenses_are_labelled_and_only_dark_ones_hide_what_is_behind(bearer, dark):
    glasses = sample_glasses(np.random.default_rng(0), bearer.landmarks, bearer.ears)
    glasses = replace(
        glasses, transmission=np.float32([0.1] * 3) if dark else np.float32([0.9] * 3), coating=np.zeros(3)
    )
    scene = Rendering(
        np.full((SIZE, SIZE, 3), 0.5, np.float32), np.full((SIZE, SIZE), CLASS["skin"], np.uint8),
        np.ones((SIZE, SIZE), bool), np.full((SIZE, SIZE), 950.0, np.float32),
    )  # fmt: skip
    seen = look_through(scene, glasses, camera(), sample_light(np.random.default_rng(1)))
    lens = seen.labels == CLASS["eye_g"]
    assert 0.01 < lens.mean() < 0.3
    assert (seen.radiance[~lens] == 0.5).all() and (seen.depth[~lens] == 950.0).all()
    assert (seen.depth[lens] < 950.0).all() == dark
    assert np.median(seen.radiance[lens]) == pytest.approx(0.5 * (0.1 if dark else 0.9), rel=0.6 if dark else 0.05)
    hidden = replace(scene, depth=np.full((SIZE, SIZE), 500.0, np.float32))  # a hand in front of the glasses
    assert (
        look_through(hidden, glasses, camera(), sample_light(np.random.default_rng(1))).labels != CLASS["eye_g"]
    ).all()


@pytest.mark.parametrize("power", [0.0, 0.02])
@pytest.mark.parametrize("transmission", [0.05, 0.9])
def test_a_lens_before_the_background_covers_what_it_does_not_let_through(bearer, transmission, power):
    """The upper half shows nothing: there the lens tints whatever background is put behind it later."""
    glasses = sample_glasses(np.random.default_rng(0), bearer.landmarks, bearer.ears)
    glasses = replace(
        glasses, transmission=np.float32([transmission] * 3), fading=0.0, coating=np.zeros(3), power=power
    )
    covered = np.zeros((SIZE, SIZE), bool)
    rows = camera().project(glasses.lenses[0].outline)[:, 1]
    covered[int(rows.mean()) :] = True
    radiance = np.where(covered[..., None], np.full(3, 0.5), 0.0).astype(np.float32)
    labels = np.where(covered, CLASS["skin"], 0).astype(np.uint8)
    scene = Rendering(radiance, labels, covered, np.where(covered, 950.0, np.inf).astype(np.float32))
    seen = look_through(scene, glasses, camera(), sample_light(np.random.default_rng(1)))
    lens, middle = seen.labels == CLASS["eye_g"], int(rows.mean())
    above, below = lens.copy(), lens.copy()
    above[middle - 2 :], below[: middle + 2] = False, False
    assert above.sum() > 20 and below.sum() > 20
    assert seen.opacity[above] == pytest.approx(1.0 - transmission, abs=1e-3)
    assert seen.opacity[below] == pytest.approx(1.0, abs=1e-3)
    assert np.array_equal(seen.opacity[~lens], covered[~lens])
    for background in (0.0, 0.5):  # one of the skin's radiance cannot be told from the skin
        shown = seen.radiance * seen.opacity[..., None] + background * (1.0 - seen.opacity[..., None])
        assert shown[above] == pytest.approx(background * transmission, abs=2e-3)
        assert shown[below] == pytest.approx(0.5 * transmission, abs=2e-3)


def test_sunglasses_hide_the_eyes_whatever_their_fading(bearer):
    drawn = [sample_glasses(np.random.default_rng(seed), bearer.landmarks, bearer.ears) for seed in range(80)]
    light = {pair.dark for pair in drawn if pair.transmission.mean() > 0.4}
    assert light == {False} and {pair.dark for pair in drawn if pair.transmission.mean() < 0.4} == {True}


def test_earrings_hang_at_the_lobes(surface, bearer):
    lobes = ear_lobes(surface, surface.template)
    tops = ear_tops(surface, surface.template)
    assert (tops[:, 1] - lobes[:, 1] > 30.0).all() and lobes[0, 0] < 0 < lobes[1, 0]
    pairs = [sample_earrings(np.random.default_rng(seed), lobes, male=False) for seed in range(30)]
    assert any(pair is None for pair in pairs)
    for pair in pairs:
        if pair is not None:
            assert_sound(pair)
            assert (pair.labels == CLASS["ear_r"]).all()
            assert np.linalg.norm(pair.vertices[:, None] - lobes[None], axis=2).min(1).max() < 60.0


def test_a_fist_brings_the_fingertips_to_the_palm():
    shape, joints = hand_shape(1.0, 30.0)
    rng, tips = np.random.default_rng(0), shape[:, 1] > np.percentile(shape[:, 1], 97)
    flat = bend(rng, shape, joints, "flat", np.eye(3))
    fist = bend(rng, shape, joints, "fist", np.eye(3))
    assert np.linalg.norm(flat[tips], axis=1).mean() > 170.0
    assert np.linalg.norm(fist[tips], axis=1).mean() < 130.0 and fist[tips, 2].mean() < -8.0  # before the palm
    child, _ = hand_shape(1.0, 8.0)
    assert np.ptp(child[:, 1]) < 0.9 * np.ptp(shape[:, 1])


@pytest.mark.parametrize("name", list(GESTURES))
@pytest.mark.parametrize("left", [True, False])
def test_hands_touch_the_head_without_entering_it(bearer, name, left):
    gesture = GESTURES[name]
    mesh = hand_mesh(np.random.default_rng(2), gesture, left, bearer)
    assert_sound(mesh)
    assert set(np.unique(mesh.labels)) <= {CLASS["background"], CLASS["cloth"]} and mesh.skin.any()
    assert all(pose in BENDS for pose in gesture.bends)
    distance = np.sqrt(((mesh.vertices[::9, None] - bearer.skin[None, ::3]) ** 2).sum(2))
    nearest = distance.argmin(1)
    height = ((mesh.vertices[::9] - bearer.skin[::3][nearest]) * bearer.normals[::3][nearest]).sum(1)
    close = distance.min(1) < 40.0
    if gesture.contact:
        assert distance.min() < 12.0
    if close.any():
        assert np.percentile(height[close], 10.0) > -12.0


@pytest.mark.parametrize("kind", [kind for kind in OCCLUDERS if kind != "blob"])
def test_occluders_stand_before_the_head_as_background(bearer, kind):
    for seed in range(3):
        meshes = occluder_meshes(np.random.default_rng(seed), kind, bearer)
        assert meshes
        for mesh in meshes:
            assert_sound(mesh)
            assert set(np.unique(mesh.labels)) <= {CLASS["background"], CLASS["cloth"]}


def test_a_mask_covers_nose_and_chin_but_not_the_eyes(bearer):
    mask = max(occluder_meshes(np.random.default_rng(0), "mask", bearer), key=lambda mesh: len(mesh.vertices))
    low, high = mask.vertices[:, 1].min(), mask.vertices[:, 1].max()
    assert low < bearer.landmarks[8, 1] + 2.0 and bearer.landmarks[33, 1] < high < bearer.landmarks[36:48, 1].min()
    tip = mask.vertices[np.abs(mask.vertices[:, :2] - bearer.landmarks[30, :2]).sum(1).argmin()]
    assert tip[2] > bearer.landmarks[30, 2]


def test_occluders_are_drawn_as_often_as_stated():
    rng = np.random.default_rng(0)
    drawn = [sample_occluder(rng) for _ in range(4000)]
    assert np.mean([kind is not None for kind in drawn]) == pytest.approx(sum(OCCLUDERS.values()), abs=0.03)
    assert set(drawn) - {None} == set(OCCLUDERS)


def test_a_blob_is_labelled_where_it_hides():
    image, labels = np.zeros((96, 96, 3), np.float32), np.full((96, 96), CLASS["skin"], np.uint8)
    covered = np.arange(96)[None].repeat(96, 0) < 48
    scene = Rendering(image, labels, covered, np.full((96, 96), 500.0, np.float32))
    drawn, seen = draw_blob(np.random.default_rng(1), image, scene, np.array([20.0, 20.0, 76.0, 76.0]))
    hidden = seen.labels == CLASS["background"]
    assert hidden.any() and not hidden.all() and drawn[hidden].mean() > 5.0 * drawn[~hidden].mean()
    assert np.array_equal(seen.depth == 0.0, hidden) and (labels == CLASS["skin"]).all()
    assert (seen.opacity[covered] == 1.0).all() and (seen.opacity[hidden] > 0.5).all()
    assert (seen.opacity[~covered] == 0.0).any()


def test_backgrounds_are_seeded_differ_and_are_muted():
    first, again = (sample_background(np.random.default_rng(4), 64) for _ in range(2))
    assert np.array_equal(first, again) and first.shape == (64, 64, 3) and first.dtype == np.float32
    drawn = np.stack([sample_background(np.random.default_rng(seed), 48) for seed in range(60)])
    assert np.isfinite(drawn).all() and drawn.min() > 0.0
    means = np.clip(drawn, 0.0, 1.0).mean((1, 2))
    saturation = (means.max(1) - means.min(1)) / means.max(1)
    assert np.median(saturation) < 0.4 and means.mean(1).std() > 0.1
    tinted = sample_background(np.random.default_rng(4), 64, np.array([1.5, 1.0, 0.5]))
    assert (tinted[..., 0] >= first[..., 0] - 1e-6).all() and (tinted[..., 2] <= first[..., 2] + 1e-6).all()


def test_pictures_behind_the_heads_show_nobody():
    """Not even in relief, as coins do."""
    assert set(background_pictures()) == set(SCENES + TEXTURES)
    assert not {"camera", "astronaut", "lfw_subset", "coins"} & {*SCENES, *TEXTURES}


def test_a_missing_sample_picture_is_named_not_skipped(monkeypatch):
    def missing() -> None:
        raise OSError("would need a download")

    monkeypatch.setattr(skimage.data, "gravel", missing)
    background_pictures.cache_clear()
    with pytest.raises(InputError, match="gravel"):
        background_pictures()
    monkeypatch.undo()
    assert "gravel" in background_pictures()
