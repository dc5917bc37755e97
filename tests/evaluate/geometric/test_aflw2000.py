import numpy as np
import pytest
from scipy.io import savemat

from facerecon.errors import InputError
from facerecon.evaluate.geometric.aflw2000 import evaluate_aflw2000, normalised_mean_error, read_aflw2000


@pytest.fixture
def truth() -> np.ndarray:
    """(4, 68, 2) whose boxes are 100 x 25 pixels, so that sqrt(width height) is 50."""
    points = np.random.default_rng(0).uniform([20, 20], [100, 40], (4, 68, 2))
    points[:, 0], points[:, 1] = [10, 15], [110, 40]
    return points


def test_zero_for_a_perfect_prediction(truth):
    assert (normalised_mean_error(truth, truth) == 0).all()


def test_by_hand(truth):
    # Every point off by (3, 4): 5 pixels of 50.
    np.testing.assert_allclose(normalised_mean_error(truth + [3, 4], truth), 0.1)
    # The box is the truth's, whatever the prediction's.
    one_off = truth.copy()
    one_off[:, 7, 0] += 680
    np.testing.assert_allclose(normalised_mean_error(one_off, truth), 0.2)


def test_bins_and_their_mean(truth):
    predicted = truth + np.array([1.0, 2.0, 3.0, 6.0])[:, None, None] * [0.5, 0]  # NME 1, 2, 3, 6 %
    evaluation = evaluate_aflw2000(predicted, truth, [30, -29, -60, 350])
    np.testing.assert_allclose(evaluation.per_image, [1, 2, 3, 6])
    assert evaluation.counts == {"0-30": 2, "30-60": 1, "60-90": 1}
    np.testing.assert_allclose(list(evaluation.bins.values()), [1.5, 3, 6])
    assert evaluation.mean == pytest.approx(3.5) and evaluation.std == pytest.approx(np.std([1.5, 3, 6]))
    assert evaluation.mean_over_images == pytest.approx(3)
    # 350 degrees are -10 when wrapped; the empty bin is NaN and stays out of the mean.
    corrected = evaluate_aflw2000(predicted, truth, [30, -29, -60, 350], wrap_yaw=True)
    np.testing.assert_allclose(corrected.bins["0-30"], 3)
    assert np.isnan(corrected.bins["60-90"]) and corrected.mean == pytest.approx(3)


def test_bad_input(truth):
    with pytest.raises(ValueError, match="must both"):
        normalised_mean_error(truth[:2], truth)
    with pytest.raises(ValueError, match="no area"):
        normalised_mean_error(truth, np.zeros_like(truth))
    with pytest.raises(ValueError, match="yaws"):
        evaluate_aflw2000(truth, truth, [1, 2])


def test_read(tmp_path):
    points = np.random.default_rng(1).normal(size=(3, 68))
    pose = np.array([[0.1, np.pi / 6, 0.2, 1, 2, 3, 0.001]])
    for name in ("image2", "image1"):
        (tmp_path / f"{name}.jpg").write_bytes(b"")
        savemat(tmp_path / f"{name}.mat", {"pt3d_68": points, "Pose_Para": pose})
    (tmp_path / "other.jpg").write_bytes(b"")
    photographs = read_aflw2000(tmp_path)
    assert [photograph.path.name for photograph in photographs] == ["image1.jpg", "image2.jpg"]
    np.testing.assert_allclose(photographs[0].landmarks, points.T)
    assert photographs[0].yaw == pytest.approx(30)


def test_read_refuses(tmp_path):
    with pytest.raises(InputError, match="no pairs"):
        read_aflw2000(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    for content in (b"", b"no matrix file at all"):
        (tmp_path / "a.mat").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.mat"):
            read_aflw2000(tmp_path)
    savemat(tmp_path / "a.mat", {"pt3d_68": np.zeros((3, 21)), "Pose_Para": np.zeros((1, 7))})
    with pytest.raises(InputError, match="3 x 68"):
        read_aflw2000(tmp_path)
