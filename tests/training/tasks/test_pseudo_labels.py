"""Self-training: synthetic photographs pose as a user's own, and a stub with known errors as the trained network."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.networks.detector import Detection
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import LandmarkPrediction
from facerecon.training.tasks import landmarks as landmark_task
from facerecon.training.tasks import pseudo_labels
from facerecon.training.tasks.landmarks import LandmarkTask
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.pseudo_labels import label_photographs
from facerecon.training.tasks.settings import LandmarkSettings

LARGEST = 0.04


@pytest.fixture
def store(toy_folder) -> PhotographStore:
    return PhotographStore([toy_folder])


@pytest.fixture
def sure(store, monkeypatch):
    """Photographs' numbers -> expected error of each point (of the box's side); the others' faces are not found. The
    stub knows each photograph's points, and is off by 1 % of the side, to either side by turns of the looks."""
    errors: dict[int, np.ndarray] = {}
    images = [store.image(number) for number in range(len(store))]
    looks = iter(range(10**6))

    def number_of(photo):
        return next(number for number, image in enumerate(images) if np.array_equal(image, photo))

    def detect(photo, detector, verifier):
        number = number_of(photo)
        return [Detection(points_box(store.landmarks[number]), 0.9)] if number in errors else []

    def predict(photo, box, network, refinements):
        number = number_of(photo)
        points = store.landmarks[number]
        side = np.ptp(points, axis=0).max()
        off = 0.01 * side * (next(looks) % 3 - 1)
        return LandmarkPrediction(points + np.float32([off, 0]), errors[number] * side, np.ones(68))

    monkeypatch.setattr(pseudo_labels, "detect_faces", detect)
    monkeypatch.setattr(pseudo_labels, "predict_landmarks", predict)
    return errors


def label(toy_folder: Path):
    return label_photographs([toy_folder / "images"], None, None, LARGEST)


def test_faces_are_kept_where_the_teacher_is_sure(toy_folder, store, sure):
    sure[2], sure[5] = np.full(68, 0.01), np.full(68, 0.09)
    sure[7] = np.where(np.arange(68) < 17, 0.06, 0.02)
    found = label(toy_folder)
    assert len(found) == 2 and found.looked_at == len(store)
    np.testing.assert_allclose(found.weights[0], np.exp(-0.01 / LARGEST), rtol=1e-5)
    assert found.weights[1, :17].max() < found.weights[1, 17:].min()


def test_points_stay_on_the_face_in_what_is_kept_of_the_photograph(toy_folder, store, sure):
    sure[4] = np.zeros(68)
    found = label(toy_folder)
    kept, whole = found.image(0), store.image(4)
    # where the eyes were drawn white
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = np.floor(found.landmarks[0, eye].mean(0)).astype(int)
        assert kept[y, x].min() > 190
    assert max(kept.shape) <= max(whole.shape)


def test_disagreement_between_looks_counts_against_a_face(toy_folder, sure, monkeypatch):
    sure[1] = np.zeros(68)
    agreed = label(toy_folder)
    known = pseudo_labels.predict_landmarks

    def wavering(photo, box, network, refinements):
        prediction = known(photo, box, network, refinements)
        shift = np.random.default_rng(int(box[0] * 1000)).normal(0, 8, 2).astype(np.float32)
        return LandmarkPrediction(prediction.points + shift, prediction.expected_error, prediction.confidence)

    monkeypatch.setattr(pseudo_labels, "predict_landmarks", wavering)
    assert len(agreed) == 1
    with pytest.raises(InputError, match="no face"):
        label(toy_folder)


def test_missing_folders_are_named_and_damaged_pictures_passed_over(tmp_path, toy_folder, store, sure):
    with pytest.raises(InputError, match=r"absent: no such folder"):
        label_photographs([tmp_path / "absent"], None, None)
    sure[0] = np.zeros(68)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "face.png"), store.image(0)[..., ::-1])
    found = label_photographs([tmp_path], None, None, LARGEST)
    assert len(found) == 1 and found.looked_at == 2 and found.damaged == (tmp_path / "broken.jpg",)


def test_batches_mix_synthetic_and_own_photographs(toy_folder, store, sure, monkeypatch, tmp_path):
    sure.update({number: np.full(68, 0.02) for number in range(6)})
    monkeypatch.setattr(landmark_task, "load_detector", lambda file: None)
    monkeypatch.setattr(landmark_task, "load_landmark_network", lambda file: None)
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes(b"weights")
    settings = LandmarkSettings(
        size=32, width=8, hidden=16, unlabelled=[str(toy_folder / "images")], unlabelled_share=0.5,
        unlabelled_error=LARGEST, teacher=str(teacher), teacher_detector=str(teacher),
    )  # fmt: skip
    task = LandmarkTask(settings, store, seed=0, batch_size=8)
    batch = task.batch(1)
    assert batch["images"].shape == (8, 32, 32, 3) and batch["points"].shape == (8, 68, 2)
    assert (batch["weights"][:4] == 1).all()  # the toy photographs show all points
    expected = np.exp(-0.02 / LARGEST)
    np.testing.assert_allclose(batch["weights"][4:], expected, rtol=1e-5)
    card = task.card()["unlabelled"]
    assert card["faces"] == 6 and len(card["teacher_sha256"]) == 64
    for share in (0.0, 0.05, 0.95):  # of a batch of 8: none, or all
        with pytest.raises(InputError, match="of a batch of 8"):
            LandmarkTask(settings.model_copy(update={"unlabelled_share": share}), store, seed=0, batch_size=8)
    assert "unlabelled" not in LandmarkTask(LandmarkSettings(size=32, width=8, hidden=16), store, 0, 8).card()
