"""Smooth extension: keeps what is known, averages what is not."""

import numpy as np
import pytest

from facerecon.reconstruction.diffusion import extend


def test_known_values_stay(tmp_path):
    values = np.random.default_rng(0).random((37, 52, 3)).astype(np.float32)
    assert np.array_equal(extend(values, np.ones((37, 52), np.float32)), values)
    weight = (np.random.default_rng(1).random((37, 52)) > 0.7).astype(np.float32)
    assert np.array_equal(extend(values, weight)[weight > 0], values[weight > 0])


@pytest.mark.parametrize("shape", [(64, 64), (33, 47), (1, 9), (5, 1)])
def test_a_constant_fills_everything(shape):
    weight = np.zeros(shape, np.float32)
    weight[0, 0] = 1.0
    values = np.where(weight[..., None] > 0, np.float32(0.4), np.float32(9.0)).astype(np.float32).repeat(3, axis=2)
    assert extend(values, weight) == pytest.approx(np.full((*shape, 3), 0.4), rel=1e-4)


def test_holes_lie_between_their_surroundings():
    values = np.zeros((64, 64, 1), np.float32)
    values[:, 40:] = 1.0
    weight = np.ones((64, 64), np.float32)
    weight[:, 20:40] = 0.0
    filled = extend(values, weight)[..., 0]
    hole = filled[32, 20:40]
    assert hole.min() >= 0.0 and hole.max() <= 1.0
    assert hole[0] < 0.25 and hole[-1] > 0.75 and np.abs(np.diff(filled[32, 18:42])).max() < 0.25


def test_nothing_known_gives_zeros_and_bad_shapes_are_refused():
    assert (extend(np.ones((9, 7, 2), np.float32), np.zeros((9, 7), np.float32)) == 0).all()
    with pytest.raises(ValueError, match="weight"):
        extend(np.ones((9, 7, 2), np.float32), np.zeros((7, 9), np.float32))
