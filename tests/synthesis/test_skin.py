"""Skin colours and the person's own detail."""

from dataclasses import replace

import numpy as np
import pytest

from facerecon.morphable.skin import sample_skin
from facerecon.synthesis.eyes_and_mouth import sample_eye_and_mouth_look
from facerecon.synthesis.head_surface import load_head_surface
from facerecon.synthesis.skin_detail import (
    COLUMNS,
    LEFT,
    ROWS,
    TEXEL,
    TOP,
    map_places,
    paint_skin,
    pigment_fields,
    sample_skin_detail,
)
from facerecon.synthesis.wrinkles import draw_wrinkles


@pytest.fixture(scope="module")
def surface():
    return load_head_surface()


@pytest.fixture(scope="module")
def parameters(surface):
    rng = np.random.default_rng(0)
    return sample_skin(rng, surface.generator.sample_identity(rng))


def test_skin_colours_span_the_measured_ones(surface, parameters):
    """Linear red and the ratios green / red and blue / red of very fair to very dark skin in daylight."""
    skin = surface.is_part("skin")
    level, ratios = [], []
    for melanin in (0.05, 0.4, 1.0, 2.3):
        own = replace(parameters, melanin=melanin, haemoglobin=0.5, freckles=0.0)
        colours = paint_skin(np.random.default_rng(1), surface, own, 30.0, True)[skin]
        mean = np.median(colours, 0)
        level.append(mean[0])
        ratios.append(mean[1:] / mean[0])
        assert colours.min() > 0.0 and colours.max() < 1.0
    assert (np.diff(level) < 0.0).all() and 0.65 < level[0] < 0.85 and 0.12 < level[-1] < 0.25
    ratios = np.array(ratios)
    assert (np.diff(ratios, axis=0) < 0.0).all()
    assert ratios[:, 0].min() > 0.4 and ratios[:, 0].max() < 0.8 and (ratios[:, 1] < ratios[:, 0]).all()


def test_lips_are_redder_than_cheeks(surface, parameters):
    colours = paint_skin(np.random.default_rng(2), surface, replace(parameters, lips=0.8), 30.0, True)
    redness = colours[:, 0] / colours[:, 1]
    assert redness[surface.masks["lips"] > 0.8].mean() > 1.1 * redness[surface.zones["forehead"] > 0.5].mean()


def test_pigment_fields_have_unit_variance_and_their_lengths(surface):
    fields = pigment_fields(surface.template[::5])
    assert fields.std(2).mean(1) == pytest.approx(np.ones(len(fields)), abs=0.25)
    near = np.linalg.norm(np.diff(surface.template[::5], axis=0), axis=1) < 4.0
    change = np.abs(np.diff(fields, axis=2)[:, :, near]).mean((1, 2))
    assert (np.diff(change) > 0.0).all()  # the shorter, the rougher


def test_the_map_covers_the_face_without_folds(surface):
    places = map_places(surface.template)
    face = surface.masks["face"] > 0.5
    across, up = places[face].T
    assert across.min() > LEFT and across.max() < LEFT + COLUMNS * TEXEL
    assert up.min() > TOP - ROWS * TEXEL and up.max() < TOP
    assert np.corrcoef(across, surface.template[face, 0])[0, 1] > 0.95


def test_wrinkles_deepen_with_age():
    depth = []
    for age in (10.0, 35.0, 60.0, 85.0):
        relief = [draw_wrinkles(np.random.default_rng(s), age, (ROWS, COLUMNS), (LEFT, TOP), TEXEL) for s in range(4)]
        depth.append(-np.mean([np.percentile(height, 0.5) for height in relief]))
    assert (np.diff(depth) > 0.0).all() and depth[-1] > 3.0 * depth[0] and depth[-1] < 2.0


def test_detail_belongs_to_the_person_and_averages_out(parameters):
    first, again, other = (
        sample_skin_detail(np.random.default_rng(seed), parameters, 50.0, True).texels for seed in (5, 5, 6)
    )
    assert (first == again).all()
    inner = (slice(60, 300), slice(60, 440), slice(None))
    assert abs(np.corrcoef(first[inner].ravel(), other[inner].ravel())[0, 1]) < 0.3
    assert np.abs(first[0]).max() == 0.0 and np.abs(first[:, 0]).max() == 0.0  # nothing at the rim
    detail = sample_skin_detail(np.random.default_rng(5), parameters, 50.0, True)
    coarse, frame = detail.at(3.0)
    assert coarse[..., :2].std() < 0.7 * first[..., :2].std()
    assert frame[2] == pytest.approx(coarse.shape[1] / (COLUMNS * TEXEL), rel=0.01)
    assert detail.at(0.2)[0] is detail.texels


def test_eyes_age():
    def mean(age: float) -> np.ndarray:
        looks = [
            sample_eye_and_mouth_look(np.random.default_rng(s), np.full(3, 0.1), age, male=True) for s in range(100)
        ]
        return np.mean([[look.sclera[2] / look.sclera[0], look.limbus, look.pupil, look.lashes] for look in looks], 0)

    assert (mean(80.0) < mean(10.0)).all()
