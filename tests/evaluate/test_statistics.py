import math

import numpy as np
import pytest

from facerecon.evaluate.groups import binned, face_side_groups, groups_of, light_contrast, part_order
from facerecon.evaluate.statistics import bootstrap_interval, figures_of, mean_interval, mean_measure, ratio_measure
from facerecon.geometry.spherical_harmonics import sh_basis


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = mean_interval(values)
    error = 2 / 400**0.5
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_photographs_of_one_person_do_not_count_as_many():
    people = np.random.default_rng(0).normal(0, 1, 30)
    values = np.repeat(people, 50)  # fifty equal photographs of each
    terms = np.column_stack([values, np.ones(len(values))])
    mean = lambda sums, total: sums[:, 0] / sums[:, 1]  # noqa: E731
    low, high = bootstrap_interval(terms, np.repeat(np.arange(30), 50), mean)
    naive_low, naive_high = mean_interval(values)
    assert high - low > 4 * (naive_high - naive_low)
    assert all(math.isnan(end) for end in bootstrap_interval(terms[:50], np.zeros(50), mean))


def test_figures_by_hand():
    groups = {"sex": np.array(["male", "female", "male"])}
    rows = figures_of(mean_measure("landmarks", "nme", np.array([1.0, 5.0, 3.0]), np.array([0, 1, 2]), groups))
    assert [(row.group, row.part, row.cases, row.value) for row in rows] == [
        ("all", "all", 3, 3.0), ("sex", "female", 1, 5.0), ("sex", "male", 2, 2.0),
    ]  # fmt: skip
    # Of the 27 resamples one is all 1 and three hold 1, 1, 3: the 2.5 % quantile lies at 1, the 97.5 % one at 5.
    assert (rows[0].low, rows[0].high) == (1, 5)
    assert math.isnan(rows[1].low)


def test_ratios_by_hand():
    people = np.arange(4)
    (row,) = figures_of(ratio_measure("landmarks", "x", np.array([1.0, 2, 3, 0]), np.array([2, 2, 2, 0]), people, {}))
    assert row.value == 1 and 0.5 <= row.low < 1 < row.high <= 1.5
    (row,) = figures_of(ratio_measure("landmarks", "x", np.zeros(4), np.zeros(4), people, {}))
    assert math.isnan(row.value) and math.isnan(row.low)


def test_a_figure_that_most_resamples_lack_has_no_interval():
    people = np.arange(40)
    terms = np.column_stack([np.ones(40), people < 1])  # the first person is in 63.7 % of resamples, twice in 26.4 %
    for least, known in ((0, True), (1, True), (2, False)):

        def figure(sums, total, least=least):
            return np.where(sums[:, 1] >= least, 1.0, np.nan)

        assert math.isfinite(bootstrap_interval(terms, people, figure)[0]) is known


def test_a_figure_knows_the_total_in_every_resample():
    totals = []
    terms = np.arange(6.0).reshape(3, 2)
    bootstrap_interval(terms, np.arange(3), lambda sums, total: totals.append(total) or sums[:, 0])
    np.testing.assert_array_equal(totals, np.tile([6.0, 9.0], (len(totals), 1)))


def test_bins_hold_their_lower_edge():
    assert binned(np.array([-1.0, 15, 29.9, 60, 90]), (15.0, 30.0, 60.0)).tolist() == [
        "<15", "15-30", "15-30", ">=60", ">=60",
    ]  # fmt: skip
    parts = ["no", ">=60", "15-30", "<15", "yes", "0.5-1"]
    assert sorted(parts[1:4], key=part_order) == ["<15", "15-30", ">=60"]
    assert face_side_groups(np.array([20.0, 200.0])).tolist() == ["<24", ">=64"]


def test_groups_of_what_the_shards_tell():
    attributes = {
        "rotation": np.radians([[-35, -40, 0], [0, 5, 0]]),
        "sex": np.array([0.2, 0.9]),
        "age": np.array([9.0, 61.0]),
        "occluded": np.array([True, False]),
        "glasses": np.array([False, True]),
        "dark_glasses": np.array([False, True]),
        "melanin": np.array([0.3, 1.2]),
    }
    groups = groups_of(attributes)
    assert {name: parts.tolist() for name, parts in groups.items()} == {
        "yaw": ["30-60", "<15"], "pitch": ["30-40", "<15"], "sex": ["female", "male"], "age": ["<18", ">=60"],
        "occlusion": ["yes", "no"], "glasses": ["no", "yes"],
        "dark_glasses": ["no", "yes"], "melanin": ["0.26-0.53", ">=1.17"],
    }  # fmt: skip
    attributes["occlusion"] = np.array([0.3, 0.0])  # the share, where the shard has it
    assert groups_of(attributes)["occlusion"].tolist() == [">=0.15", "<0.02"]


def test_light_contrast_of_known_lights():
    # irradiance 1 + 0.6 cos(angle to x): contrast 0.6, whatever the level and for any colour
    normals = np.random.default_rng(0).normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = np.linalg.lstsq(sh_basis(normals), (1 + 0.6 * normals[:, 0])[:, None] * [0.5, 0.5, 0.5], rcond=None)[0]
    np.testing.assert_allclose(light_contrast(np.stack([light, 3 * light])), 0.6, rtol=1e-6)
