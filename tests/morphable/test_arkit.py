import numpy as np
import pytest

from facerecon.morphable import arkit
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.head_data import mirror_image
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.storage import load_face_model


@pytest.fixture(scope="module", params=[1, 2])
def model(request: pytest.FixtureRequest) -> LinearFaceModel:
    return load_face_model(level=request.param)


def test_names_are_arkits() -> None:
    assert len(arkit.ARKIT_NAMES) == len(set(arkit.ARKIT_NAMES)) == 52
    assert {"jawOpen", "tongueOut", "mouthClose", "cheekPuff", "noseSneerLeft"} < set(arkit.ARKIT_NAMES)
    assert tuple(HeadGenerator.load().expression_names) == arkit.ARKIT_NAMES


def test_basis_is_the_generators_own_and_not_the_projection(model: LinearFaceModel) -> None:
    generator = HeadGenerator.load()
    basis = arkit.arkit_basis(model)
    assert basis.shape == (52, len(model.topology.uv), 3) and basis.dtype == np.float32
    coarse = arkit.coarse_basis(model)
    weights = np.zeros(52)
    weights[arkit.ARKIT_NAMES.index("mouthSmileLeft")] = 1
    expected = generator.expression_offsets(weights)[generator.face_vertices]
    np.testing.assert_array_equal(coarse[arkit.ARKIT_NAMES.index("mouthSmileLeft")], expected)
    # Subdivision keeps offsets of whole millimetres in their place: the same peak to a tenth of a millimetre or so.
    peak = np.abs(basis).max((1, 2))
    assert (peak[np.abs(coarse).max((1, 2)) > 1] > 0.5).all()


def test_basis_is_mirror_symmetric(model: LinearFaceModel) -> None:
    basis = arkit.arkit_basis(model)
    left, right = (basis[arkit.ARKIT_NAMES.index(f"eyeBlink{side}")] for side in ("Left", "Right"))
    np.testing.assert_allclose(mirror_image(left, model.topology.mirror), right, atol=1e-4)


def test_tongue_out_moves_no_face_vertex(model: LinearFaceModel) -> None:
    assert np.abs(arkit.arkit_basis(model)[arkit.ARKIT_NAMES.index("tongueOut")]).max() == 0


def test_coefficients_leave_what_is_stated(model: LinearFaceModel) -> None:
    coefficients, residual = arkit.arkit_coefficients(model)
    assert coefficients.shape == (52, 64) and residual.shape == (52,)
    assert residual.max() < 0.48 and residual.mean() < 0.12
    best = arkit.coarse_basis(model)[24] - np.tensordot(coefficients[24], model.coarse.expression, 1)
    assert residual[24] == pytest.approx(np.sqrt((best**2).sum(-1).mean()), rel=1e-3)
    worse = coefficients[24] + 0.01
    other = arkit.coarse_basis(model)[24] - np.tensordot(worse, model.coarse.expression, 1)
    assert (other**2).sum() > (best**2).sum()
