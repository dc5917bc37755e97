import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from facerecon.networks.detector import LARGEST_FACE, REFERENCE_SIZE, SMALLEST_FACE, STRIDE, decode, suppress
from facerecon.training.tasks import detector as detector_task
from facerecon.training.tasks.backgrounds import (
    BACKGROUND_SIZE,
    MEASURING_PICTURES,
    TRAINING_PICTURES,
    VALIDATION_PICTURES,
    make_background,
)
from facerecon.training.tasks.detector import DetectorTask, choose_threshold, focal_loss, judge, overlap_loss
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.scenes import Scene, SceneComposer, detector_targets, filled_matte
from facerecon.training.tasks.settings import DetectorSettings

FEW = {"backgrounds": 4, "width": 4}


@pytest.fixture(scope="module")
def store(toy_folder) -> PhotographStore:
    return PhotographStore([toy_folder])


def scene(boxes=(), ignored=(), size=64) -> Scene:
    as_boxes = [np.array(values, float).reshape(-1, 4) for values in (boxes, ignored)]
    return Scene(np.zeros((size, size, 3), np.uint8), *as_boxes, np.arange(len(as_boxes[0])))


def test_focal_loss_by_hand():
    logits, heat = torch.zeros(3), torch.tensor([1.0, 0.0, 0.5])
    # at probability 1/2: 0.25 ln 2 each; the third is eased by (1 - 0.5)^4
    expected = 0.25 * np.log(2) * (2 + 0.5**4)
    assert focal_loss(logits, heat).item() == pytest.approx(expected)
    assert focal_loss(torch.tensor([40.0, -40.0, -40.0]), heat).item() < 1e-12
    assert focal_loss(torch.tensor([5.0]), torch.tensor([-1.0])).item() == 0
    values = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda value: focal_loss(value, heat.double()), values)
    with pytest.raises(ValueError, match="differ in shape"):
        focal_loss(torch.zeros(2), torch.zeros(3))


def test_targets_decode_to_the_boxes():
    boxes = [[6.0, 10.0, 30.0, 42.0], [40.0, 41.0, 60.0, 62.0]]
    heat, geometry, weight = detector_targets(scene(boxes), 64)
    assert (weight == 1).sum() == 2 and (heat[weight == 1] == 1).all() and (weight[heat == 1] >= 0.6).all()
    logits = torch.where(torch.from_numpy(heat) == 1, 5.0, -5.0)
    found = np.array([each.box for each in suppress(*decode(logits, torch.from_numpy(geometry), 0.5))])
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], boxes, atol=1e-3)


def test_targets_leave_out_ignored_areas():
    heat, _, weight = detector_targets(scene(ignored=[[16, 16, 31, 31]]), 64)
    assert (heat[2:4, 2:4] == -1).all() and (heat == -1).sum() == 4 and weight.sum() == 0
    assert (detector_targets(scene(), 64)[0] == 0).all()


def test_scenes_are_labelled_where_the_faces_are(store):
    composer = SceneComposer(store, DetectorSettings(**FEW, whole_photo=0, no_person=0, more_people=0, faceless=0), 0)
    rng = np.random.default_rng(0)
    counts = []
    for index in range(len(store)):
        made = composer.compose(rng, [index, index])
        assert made.image.shape == (160, 160, 3) and made.image.dtype == np.uint8
        assert list(made.indices) in ([index], [])
        counts.append(len(made.boxes) + len(made.ignored))
        for box in made.boxes:
            longest = (box[2:] - box[:2]).max()
            assert SMALLEST_FACE <= longest <= LARGEST_FACE
    assert set(counts) == {1}


def test_nobody_and_decoys_give_no_boxes(store):
    rng = np.random.default_rng(0)
    for settings in ({"no_person": 1, "whole_photo": 0}, {"faceless": 1, "whole_photo": 0}):
        composer = SceneComposer(store, DetectorSettings(**FEW, **settings), 0)
        for index in range(8):
            made = composer.compose(rng, [index, index + 1])
            assert len(made.boxes) == 0 and len(made.ignored) == 0


def test_covered_faces_are_ignored(store):
    settings = DetectorSettings(**FEW, whole_photo=0, no_person=0, more_people=1, faceless=0)
    composer, rng = SceneComposer(store, settings, 0), np.random.default_rng(1)
    scenes = [composer.compose(rng, (index + np.array([0, 5, 7])) % len(store)) for index in range(60)]
    counts = [(len(made.boxes), len(made.ignored)) for made in scenes]
    assert max(boxes for boxes, _ in counts) == 3 and any(ignored for _, ignored in counts)
    assert all(boxes + ignored <= 3 for boxes, ignored in counts)


def test_backgrounds():
    rng = np.random.default_rng(0)
    pictures = [make_background(rng) for _ in range(12)]
    assert all(picture.shape == (BACKGROUND_SIZE, BACKGROUND_SIZE, 3) for picture in pictures)
    assert all(picture.dtype == np.uint8 for picture in pictures)
    assert (make_background(np.random.default_rng(3)) == make_background(np.random.default_rng(3))).all()


def test_training_validation_and_measuring_use_pictures_of_their_own(store, monkeypatch):
    sets = [set(pictures) for pictures in (TRAINING_PICTURES, VALIDATION_PICTURES, MEASURING_PICTURES)]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    made = []

    class Recorded(SceneComposer):
        def __init__(self, store, settings, seed, pictures=TRAINING_PICTURES):
            made.append((seed, pictures))
            super().__init__(store, settings, seed, pictures)

    monkeypatch.setattr(detector_task, "SceneComposer", Recorded)
    DetectorTask(DetectorSettings(**FEW), store, seed=3, batch_size=2).validation_scenes()
    (training_seed, training), (validation_seed, validation) = made
    assert training_seed != validation_seed and (training, validation) == (TRAINING_PICTURES, VALIDATION_PICTURES)


def test_what_is_held_before_a_face_is_pasted_with_it(store):
    labels = store.labels(0).copy()
    points = store.landmarks[0]
    whole = filled_matte(labels, points)
    assert (whole[labels > 0] == 255).all() and (whole[:5] == 0).all() and set(np.unique(whole)) == {0, 255}
    left, top = np.round(points.min(0)).astype(int)
    labels[top:, : left + 20] = 0  # a hand at the cheek, cut into the outline
    labels[np.round(points[30, 1]).astype(int) :][:4, np.round(points[30, 0]).astype(int) :][:, :4] = 0  # and a hole
    filled = filled_matte(labels, points)
    assert (filled != whole).mean() < 0.01


def test_a_stored_matte_says_what_is_pasted(store, monkeypatch):
    settings = DetectorSettings(**FEW, whole_photo=0, no_person=0, more_people=0, faceless=0)
    composer = SceneComposer(store, settings, 0)
    without = composer.compose(np.random.default_rng(5), [0]).image
    monkeypatch.setattr(store, "matte", lambda index: np.zeros((96, 96), np.uint8))
    nobody = composer.compose(np.random.default_rng(5), [0]).image
    monkeypatch.setattr(store, "matte", lambda index: filled_matte(store.labels(index), store.landmarks[index]))
    assert (composer.compose(np.random.default_rng(5), [0]).image == without).all()
    assert (nobody != without).any()


def test_batches_and_loss(store):
    task = DetectorTask(DetectorSettings(**FEW), store, seed=0, batch_size=8)
    batch = task.batch(5)
    for name, tensor in DetectorTask(DetectorSettings(**FEW), store, seed=0, batch_size=8).batch(5).items():
        assert torch.equal(tensor, batch[name])
    # What was asked for has no loss; the same elsewhere has.
    logits = torch.where(batch["heat"] == 1, 40.0, -40.0)
    loss, _ = task.loss(lambda images: (logits, batch["geometry"]), batch, 0)
    assert loss.item() < 1e-5
    assert task.loss(lambda images: (logits, batch["geometry"] + 1), batch, 0)[0].item() > 0.5


def box_geometry(x0, y0, x1, y1):
    """A box in pixels from the cell's corner, as the network gives it."""
    size = np.log(np.array([x1 - x0, y1 - y0]) / REFERENCE_SIZE)
    return torch.tensor([*size, (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE], dtype=torch.float64)


def test_overlap_loss_by_hand():
    box = box_geometry(0, 0, 40, 40)
    assert overlap_loss(box, box).item() == pytest.approx(0)
    # half beside it: intersection 800, union 2400, hull 2400
    assert overlap_loss(box, box_geometry(20, 0, 60, 40)).item() == pytest.approx(1 - 800 / 2400)
    # apart: hull 100 x 40, of which 800 are covered by neither
    assert overlap_loss(box, box_geometry(60, 0, 100, 40)).item() == pytest.approx(1 + 800 / 4000)
    predicted = (box + torch.tensor([0.1, -0.2, 0.3, 0.1], dtype=torch.float64)).requires_grad_()
    assert gradcheck(lambda value: overlap_loss(value, box), predicted)


def test_judging_by_hand():
    seen = scene([[10, 10, 30, 30], [40, 40, 60, 60]], ignored=[[0, 50, 10, 64]])
    boxes = np.array([[11, 10, 31, 30], [40, 0, 60, 20], [0, 52, 8, 62]], float)
    scores, overlaps, found = judge(seen, boxes, np.array([0.9, 0.8, 0.7]))
    np.testing.assert_allclose(scores, [0.9, 0.8])  # the third lies where nothing is asked
    np.testing.assert_allclose(overlaps, [19 / 21, 0])
    np.testing.assert_allclose(found, [0.9, 0])


def test_validation_of_a_blank_and_of_a_perfect_detector(store):
    task = DetectorTask(DetectorSettings(**FEW, validation_fraction=0.5), store, seed=0, batch_size=8)
    with torch.no_grad():
        measured = task.validate(task.build_model().eval())
    assert set(measured) == {"score_threshold", "recall", "overlap", "false_per_scene"}


def test_choose_threshold_by_hand():
    # 100 scenes allow one false detection: the threshold lies just above the second best false score.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.3])
    overlaps = np.array([0.8, 0.0, 0.6, 0.7, 0.0, 0.9])
    chosen = choose_threshold(scores, overlaps, faces=5, scenes=100)
    assert chosen["score_threshold"] == pytest.approx(0.5001)
    assert chosen["recall"] == pytest.approx(3 / 5) and chosen["overlap"] == pytest.approx(0.7)
    assert chosen["false_per_scene"] == pytest.approx(0.01)
    assert choose_threshold(np.zeros(0), np.zeros(0), 3, 10)["recall"] == 0
