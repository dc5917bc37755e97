"""The measuring commands on toy folders; on the real ones with --real DIR, when weights are carried."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from facerecon.errors import InputError
from facerecon.networks.detector import Detection
from facerecon.networks.landmarks import LandmarkPrediction
from facerecon.networks.weights import carried_weights
from facerecon.preprocess import measure
from facerecon.preprocess.face import FaceFinder
from facerecon.preprocess.measure import five_point_error, five_points, measure_aflw2000, measure_detection

FIVE = "10 10\n30 10\n20 20\n12 30\n28 30\n"


@pytest.fixture
def points() -> np.ndarray:
    """68 landmarks whose five points are those of FIVE."""
    landmarks = np.random.default_rng(0).uniform(0, 40, (68, 2))
    landmarks[36:42], landmarks[42:48], landmarks[30] = [10, 10], [30, 10], [20, 20]
    landmarks[48], landmarks[54] = [12, 30], [28, 30]
    return landmarks


def carried() -> bool:
    try:
        return bool(carried_weights("landmarks") and carried_weights("detector"))
    except InputError:
        return False


def test_five_points_by_hand(points):
    truth = np.array([line.split() for line in FIVE.splitlines()], float)
    np.testing.assert_allclose(five_points(points), truth)
    assert five_point_error(truth, truth) == 0
    assert five_point_error(truth + [3, 4], truth) == pytest.approx(5 / 20)
    with pytest.raises(ValueError, match="coincide"):
        five_point_error(truth, np.zeros((5, 2)))


def finder(boxes, predict) -> FaceFinder:
    """Faces by the value of a photograph's first pixel; none where `boxes` has none."""

    def detect(image):
        box = boxes.get(int(image[0, 0, 0]))
        return [] if box is None else [Detection(np.array(box, np.float32), 0.9)]

    return FaceFinder(detect, predict)


def use(monkeypatch, stub: FaceFinder) -> None:
    monkeypatch.setattr(measure.FaceFinder, "load", classmethod(lambda cls, weights: stub))


def test_aflw2000_prints_every_photograph_bin_and_mean(tmp_path, monkeypatch, capsys, points):
    for value, (name, yaw) in enumerate((("a", 0.1), ("b", -0.8), ("c", 0.2))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((50, 50, 3), value, np.uint8))
        (tmp_path / f"{name}.png").rename(tmp_path / f"{name}.jpg")  # exact values
        pose = np.array([[0, yaw, 0, 0, 0, 0, 1]])
        savemat(tmp_path / f"{name}.mat", {"pt3d_68": np.vstack([points.T, np.zeros(68)]), "Pose_Para": pose})
    side = np.sqrt(np.ptp(points, axis=0).prod())

    def predict(image, box):
        # from the detector's larger box twice as far off
        off = 0.02 if np.ptp(box[[0, 2]]) < 45 else 0.04
        return LandmarkPrediction(points + [off * side, 0], np.ones(68), np.ones(68))

    # Of the third face the box holds the middle, but overlaps by less than half.
    own = {0: [-5, -5, 45, 45], 1: [-5, -5, 45, 45], 2: [-20, -20, 70, 70]}
    use(monkeypatch, finder(own, predict))
    result = measure_aflw2000(tmp_path)
    np.testing.assert_allclose(result.true_boxes.per_image, 2)
    np.testing.assert_allclose(result.own_boxes.per_image, 4)
    assert result.found.tolist() == [True, True, False]
    printed = capsys.readouterr().out
    assert "a.jpg  yaw    5.7  NME  2.00 %  own box  4.00 %" in printed and "NME  2.00 %  not found" in printed
    assert "true boxes, |yaw| 30-60: NME 2.00 % (1 photographs)" in printed
    assert "true boxes, mean of the photographs: NME 2.00 % [2.00, 2.00], largest 2.00 %" in printed
    assert "own boxes: found 2 of 3" in printed
    use(monkeypatch, finder({}, predict))
    assert measure_aflw2000(tmp_path).own_boxes is None


def test_detection_counts_only_faces_in_the_right_place(tmp_path, monkeypatch, capsys, points):
    for name in ("found.png", "elsewhere.jpg", "nothing.png", "without_points.png", "box_too_large.png"):
        cv2.imwrite(str(tmp_path / name), np.full((60, 60, 3), len(name), np.uint8))
    for name in ("found", "elsewhere", "nothing", "box_too_large"):
        (tmp_path / f"{name}.txt").write_text(FIVE)
    boxes = {len("found.png"): [5, 5, 35, 35], len("elsewhere.jpg"): [40, 40, 55, 55]}
    boxes[len("box_too_large.png")] = [-80, -80, 120, 120]
    off = LandmarkPrediction(points + [2, 0], np.ones(68), np.ones(68))
    use(monkeypatch, finder(boxes, lambda image, box: off))
    result = measure_detection(tmp_path)
    assert (result.found, result.photographs) == (1, 4) and result.error == pytest.approx(0.1)
    assert result.errors["elsewhere.jpg"] is None and "without_points.png" not in result.errors
    assert "found 1 of 4; mean five-point error 10.00 %" in capsys.readouterr().out


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="no pairs"):
        measure_aflw2000(tmp_path)
    with pytest.raises(InputError, match="no pictures"):
        measure_detection(tmp_path)


@pytest.mark.parametrize("text", ["", "1 2\n3 4\n", "a b\n" * 5, "1 1\n" * 5, "1 2 3\n" * 5])
def test_bad_points_are_named(tmp_path, monkeypatch, text):
    cv2.imwrite(str(tmp_path / "face.png"), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "face.txt").write_text(text)
    use(monkeypatch, finder({}, None))
    with pytest.raises(InputError, match=r"face\.txt: not five lines"):
        measure_detection(tmp_path)


@pytest.mark.skipif(not carried(), reason="the package carries no landmark and detector weights yet")
def test_real_photographs(real_photographs):
    assert measure_aflw2000(real_photographs / "aflw2000").true_boxes.mean_over_images <= 5.5
    result = measure_detection(real_photographs / "photos")
    assert result.found >= 10 / 12 * result.photographs and result.error <= 0.12
