from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from facerecon.morphable.detail import detail_layer
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.skin import SkinParameters, sample_skin

SIZE = 160


@pytest.fixture(scope="module")
def person() -> SkinParameters:
    rng = np.random.default_rng(0)
    parameters = sample_skin(rng, HeadGenerator.load().sample_identity(rng))
    return replace(parameters, melanin=0.3, freckles=0.0, beard=0.0, brow=0.8)


@pytest.fixture(scope="module")
def layer(training_model: LinearFaceModel, person: SkinParameters) -> np.ndarray:
    return detail_layer(training_model, person, 7, SIZE)


def test_layer_is_a_factor_about_one(layer: np.ndarray) -> None:
    assert layer.shape == (SIZE, SIZE, 3) and layer.dtype == np.float32
    assert np.isfinite(layer).all() and layer.min() > 0
    assert layer.mean() == pytest.approx(1, abs=0.02)
    assert (layer[0, 0] == 1).all()  # outside the chart
    assert layer[SIZE // 4 : -SIZE // 4].std() > 0.005


def test_layer_holds_nothing_coarse(layer: np.ndarray) -> None:
    """What the albedo basis can show, variation over a centimetre, is not in it."""
    coarse = gaussian_filter(np.log(layer[..., 1]), SIZE * 8 / 260)
    assert np.abs(coarse).max() < 0.02 < np.abs(np.log(layer[..., 1])).max()


def test_layer_is_the_seeds(training_model: LinearFaceModel, person: SkinParameters, layer: np.ndarray) -> None:
    np.testing.assert_array_equal(detail_layer(training_model, person, 7, SIZE), layer)
    assert (detail_layer(training_model, person, 8, SIZE) != layer).mean() > 0.3


def test_freckles_show_where_the_person_has_them(
    training_model: LinearFaceModel, person: SkinParameters, layer: np.ndarray
) -> None:
    freckled = detail_layer(training_model, replace(person, freckles=0.9), 7, SIZE)
    change = np.abs(np.log(freckled) - np.log(layer)).max(-1)
    assert change.max() > 0.2
    low, high = int(SIZE * 0.75), int(SIZE * 0.35)
    assert change[high:low].max() > 5 * change[int(SIZE * 0.92) :].max()  # cheeks, not the chin's underside


def test_size_must_be_positive(training_model: LinearFaceModel, person: SkinParameters) -> None:
    with pytest.raises(ValueError, match="at least one texel"):
        detail_layer(training_model, person, 0, 0)
