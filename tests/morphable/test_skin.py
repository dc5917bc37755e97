from dataclasses import replace

import numpy as np
import pytest
import torch

from facerecon.morphable.eyes import eye_albedo, eye_centre
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.skin import (
    BRIGHTEST,
    DARKEST,
    HAEMOGLOBIN,
    MELANIN,
    PIGMENT_FREE,
    SkinParameters,
    brow_map,
    hair_map,
    sample_skin,
    skin_albedo,
    smooth_noise,
)

PLAIN = SkinParameters(
    melanin=0.5,
    haemoglobin=0.4,
    lips=0.0,
    cheeks=0.0,
    nose=0.0,
    brow=0.0,
    brow_width=1.0,
    brow_arch=0.0,
    beard=0.0,
    eye_circles=0.0,
    freckles=0.0,
    melanin_variation=0.0,
    haemoglobin_variation=0.0,
    hair=np.array([0.02, 0.015, 0.012]),
    iris=np.array([0.1, 0.05, 0.02]),
)


def masks(count: int, **given: float) -> dict[str, np.ndarray]:
    return {name: np.full(count, given.get(name, 0.0)) for name in ("lips", "ears", "eyelids")}


def test_plain_skin_follows_the_absorption_law() -> None:
    albedo = skin_albedo(np.zeros((1, 3)), masks(1), PLAIN, np.random.default_rng(0))
    np.testing.assert_allclose(albedo[0], PIGMENT_FREE * np.exp(-0.5 * MELANIN - 0.4 * HAEMOGLOBIN), rtol=1e-5)


def test_lips_are_redder_by_their_strength() -> None:
    skin = replace(PLAIN, lips=0.6)
    bare, lips = (skin_albedo(np.zeros((1, 3)), masks(1, lips=m), skin, np.random.default_rng(0)) for m in (0, 1))
    np.testing.assert_allclose(lips / bare, [np.exp(-0.6 * HAEMOGLOBIN - 0.15 * MELANIN)], rtol=1e-5)


def test_brows_take_the_hair_colour() -> None:
    on_brow = np.array([[34.0, 60.5, 10.0]])
    assert brow_map(on_brow)[0] > 0.95
    assert brow_map(on_brow * [-1, 1, 1])[0] == brow_map(on_brow)[0]
    assert brow_map(np.array([[34.0, 80.0, 10.0], [0.0, 57.0, 10.0]])).max() < 0.01
    albedo = skin_albedo(on_brow, masks(1), replace(PLAIN, brow=1.0), np.random.default_rng(0))
    np.testing.assert_allclose(albedo[0], PLAIN.hair, atol=0.03)


def test_hair_grows_on_the_crown_and_spares_face_and_ears() -> None:
    points = np.array([[0.0, 125.0, 0.0], [0.0, 80.0, 20.0], [0.0, 125.0, 0.0]])
    crown, face, ear = hair_map(points, np.array([0.0, 0.0, 1.0]))
    assert crown > 0.95 and face < 0.01 and ear == 0.0


def test_albedo_stays_in_range_for_random_skins(generator: HeadGenerator) -> None:
    rng = np.random.default_rng(5)
    skin = np.unique(generator.quads["skin"])
    vertex_masks = {name: mask[skin] for name, mask in generator.masks.items()}
    luminance = []
    for k in range(60):
        parameters = sample_skin(rng, generator.sample_identity(rng))
        albedo = skin_albedo(generator.template[skin], vertex_masks, parameters, rng, detail=k < 5)
        assert albedo.dtype == np.float32 and albedo.shape == (len(skin), 3)
        assert albedo.min() >= np.float32(DARKEST) and albedo.max() <= np.float32(BRIGHTEST)
        if k >= 5:
            luminance.append(np.median(albedo, axis=0) @ [0.2126, 0.7152, 0.0722])
    assert min(luminance) < 0.12 and max(luminance) > 0.38  # dark and fair skins both occur


def test_melanin_follows_ancestry(generator: HeadGenerator) -> None:
    rng = np.random.default_rng(0)
    identity = generator.sample_identity(rng)
    means = []
    for ancestry in np.eye(3):
        person = replace(identity, ancestry=ancestry)
        means.append(np.mean([sample_skin(rng, person).melanin for _ in range(200)]))
    african, asian, caucasian = means
    assert african > 2 * asian > 2 * caucasian


def test_noise_is_standard_reproducible_and_smooth() -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (3000, 3))
    fields = np.stack([smooth_noise(points, 8.0, np.random.default_rng(seed)) for seed in range(40)])
    assert abs(fields.mean()) < 0.05 and fields.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(fields[3], smooth_noise(points, 8.0, np.random.default_rng(3)))
    near = smooth_noise(points + 0.1, 8.0, np.random.default_rng(3))
    assert np.abs(near - fields[3]).max() < 0.2


def test_eye_is_painted_by_angle() -> None:
    centre, radius = np.array([30.0, 38.0, -7.0]), 14.0
    directions = np.array([[0, 0, 1.0], [np.sin(0.3), 0, np.cos(0.3)], [np.sin(0.9), 0, np.cos(0.9)]])
    iris = np.array([0.1, 0.05, 0.02])
    pupil, ring, sclera = eye_albedo(centre + radius * directions, centre, iris, lid_shadow=False)
    assert pupil.max() < 0.01
    np.testing.assert_allclose(ring, iris, rtol=0.1)
    np.testing.assert_allclose(sclera, [0.62, 0.58, 0.55], rtol=0.02)


def test_eye_centre_is_one_radius_behind_the_front(generator: HeadGenerator) -> None:
    ball = generator.template[np.unique(generator.quads["eye_left"])]
    np.testing.assert_allclose(np.linalg.norm(ball - eye_centre(ball), axis=1), 14.2, atol=1.3)


def test_albedo_basis_holds_random_skins_and_irises(generator: HeadGenerator, training_model: LinearFaceModel) -> None:
    """Least-squares fits of new skins, sampled at the coarse vertices, which lead the level's, leave little."""
    rng = np.random.default_rng(99)
    count = len(training_model.coarse_mean)
    coarse = training_model.coarse
    points = generator.template[generator.face_vertices]
    vertex_masks = {name: mask[generator.face_vertices] for name, mask in generator.masks.items()}
    # Vertices well inside a part, where the coarse and the subdivided template nearly meet.
    moved = np.linalg.norm(training_model.mean[:count].numpy() - training_model.coarse_mean, axis=1)
    still = (moved < 0.3) & coarse.is_skin
    basis = training_model.albedo_basis[:, :count].numpy()[:, still].reshape(80, -1).T
    residual, spread = [], []
    for _ in range(40):
        parameters = sample_skin(rng, generator.sample_identity(rng))
        albedo = skin_albedo(points, vertex_masks, parameters, rng)[still]
        target = (albedo - training_model.albedo_mean[:count].numpy()[still]).ravel()
        fit = basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
        residual.append(np.mean((target - fit) ** 2))
        spread.append(np.mean(target**2))
    assert np.mean(residual) < 0.01 * np.mean(spread)


def test_random_albedos_are_plausible(training_model: LinearFaceModel) -> None:
    coefficients = torch.randn(100, 80, generator=torch.Generator().manual_seed(0))
    albedo = training_model.decode_albedo(coefficients)
    outside = ((albedo < 0) | (albedo > 1)).float().mean()
    assert outside < 0.05
