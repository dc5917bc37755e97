"""Synthetic photographs: exact ground truth, seeding, folder layout."""

from dataclasses import replace

import cv2
import h5py
import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.geometry.cameras import head_to_camera, project_perspective
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.storage import load_face_model
from facerecon.synthesis import photographs
from facerecon.synthesis.head_surface import CLASS, load_head_surface
from facerecon.synthesis.landmark_visibility import head_depth, landmark_visibility
from facerecon.synthesis.occasions import Pose, sample_occasion
from facerecon.synthesis.person import sample_person
from facerecon.synthesis.photographs import (
    load_ground_truth,
    place_camera,
    render_subject,
    take_photograph,
    write_photographs,
)
from facerecon.synthesis.randomness import BENCHMARK_DOMAIN, TRAINING_DOMAIN, stream
from facerecon.synthesis.rendering import tone_mapped


@pytest.fixture(scope="module")
def surface():
    return load_head_surface()


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs") / "shard"
    write_photographs(folder, first_subject=3, subjects=2, photos_per_subject=2, size=96, seed=5)
    return folder


def test_a_shard_holds_what_its_layout_promises(shard):
    truth = load_ground_truth(shard)
    assert list(truth["id"]) == ["0000003_00", "0000003_01", "0000004_00", "0000004_01"]
    assert truth["landmarks"].shape == (4, 68, 2) and truth["identity"].shape == (4, 80)
    assert ((truth["occlusion"] >= 0) & (truth["occlusion"] <= 1)).all() and (truth["age"] > 3).all()
    assert ((truth["key_light"] >= 0) & (truth["key_light"] <= 1)).all() and truth["hands"].dtype == bool
    for name in truth["id"]:
        image = cv2.imread(str(shard / "images" / f"{name}.jpg"))
        labels = cv2.imread(str(shard / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert image.shape == (96, 96, 3) and labels.shape == (96, 96)
        assert labels.max() < 19 and (labels == CLASS["skin"]).any()
        matte = cv2.imread(str(shard / "mattes" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert matte.shape == (96, 96) and matte.dtype == np.uint8
        assert matte[labels == CLASS["skin"]].min() > 100 and np.median(matte[labels == CLASS["skin"]]) == 255
        assert (matte < 128).any() and (labels[matte == 0] == 0).all()
    assert (truth["exposure"] > 0.0).all() and (truth["identity_residual"] < 3.0).all()


def test_the_residual_is_what_the_coefficients_leave_of_the_face(shard, surface, model):
    truth = load_ground_truth(shard)
    person = sample_person(stream(5, TRAINING_DOMAIN, 3), surface)
    face = person.neutral[surface.generator.face_vertices]
    fitted = model.coarse_mean + np.tensordot(truth["identity"][0], model.coarse_identity, 1)
    residual = np.sqrt(((face - fitted) ** 2).sum(1).mean())
    assert truth["identity_residual"][0] == pytest.approx(residual, rel=1e-3) and residual > 0.05


def test_exposure_is_what_brings_radiance_to_the_picture(surface, model, monkeypatch):
    """The light of the ground truth times the exposure is the picture's light."""
    seen = []

    def remember(radiance):
        seen.append(radiance)
        return tone_mapped(radiance)

    monkeypatch.setattr(photographs, "tone_mapped", remember)
    monkeypatch.setattr(photographs, "sample_background", lambda rng, size, tint: np.zeros((size, size, 3)))
    monkeypatch.setattr(photographs, "automatic_exposure", lambda rng, skin, level: 2.5)
    taken = []
    real = photographs.composite_hair
    monkeypatch.setattr(photographs, "composite_hair", lambda *a: taken.append(real(*a)) or taken[-1])
    _, ((_, photograph),) = render_subject(2, 9, 1, 96, surface, model)
    assert photograph.exposure == 2.5
    expected = 2.5 * taken[-1].radiance * taken[-1].coverage()[..., None]
    assert seen[0] == pytest.approx(expected, abs=1e-5)


def test_shards_of_version_2_can_be_read_and_other_ones_not(shard, tmp_path):
    (tmp_path / "ground_truth.h5").write_bytes((shard / "ground_truth.h5").read_bytes())
    with h5py.File(tmp_path / "ground_truth.h5", "r+") as file:
        file.attrs["schema_version"] = 2
        del file["exposure"], file["identity_residual"]
    assert "exposure" not in load_ground_truth(tmp_path)
    with h5py.File(tmp_path / "ground_truth.h5", "r+") as file:
        file.attrs["schema_version"] = 1
    with pytest.raises(InputError, match="version"):
        load_ground_truth(tmp_path)


def test_a_subject_does_not_depend_on_its_shard(shard, tmp_path):
    write_photographs(tmp_path / "alone", first_subject=4, subjects=1, photos_per_subject=2, size=96, seed=5)
    for name in ("0000004_00", "0000004_01"):
        for kind in ("images", "labels", "mattes"):
            (same,) = (shard / kind).glob(f"{name}.*")
            assert same.read_bytes() == (tmp_path / "alone" / kind / same.name).read_bytes()
    whole, alone = load_ground_truth(shard), load_ground_truth(tmp_path / "alone")
    assert whole.keys() == alone.keys()
    for column, values in alone.items():
        assert np.array_equal(whole[column][2:], values), column


def test_landmarks_are_the_projected_landmarks_of_the_mesh(shard, model):
    truth = load_ground_truth(shard)
    for k in range(4):
        points = torch.as_tensor(np.asarray(model.landmark_operator @ truth["face_vertices"][k]))[None].float()
        rotation = euler_to_matrix(torch.as_tensor(truth["rotation"][k : k + 1]))
        camera = head_to_camera(points, rotation, torch.as_tensor(truth["translation"][k : k + 1]))
        pixels = project_perspective(camera, float(truth["focal"][k]), torch.as_tensor(truth["centre"][k]))
        assert np.abs(pixels[0, :, :2].numpy() - truth["landmarks"][k]).max() < 0.02


def test_camera_shows_the_landmarks_at_the_asked_extent_and_place():
    landmarks = np.random.default_rng(0).normal(0.0, 40.0, (68, 3))
    pose = Pose(np.radians([10.0, -50.0, 5.0]), 600.0, 0.5, np.array([0.1, -0.05]))
    pixels = place_camera(landmarks, pose, 200).project(landmarks.astype(np.float32))[:, :2]
    low, high = pixels.min(0), pixels.max(0)
    assert (high - low).max() == pytest.approx(100.0, rel=0.01)  # the shift changes the perspective a little
    assert np.abs((low + high) / 2.0 - [120.0, 90.0]).max() < 2.0


def test_eyes_lie_under_their_landmarks(surface, model):
    rng = stream(1, TRAINING_DOMAIN, 0)
    person = sample_person(rng, surface)
    occasion = sample_occasion(rng, surface.generator.expression_names)
    plain = replace(
        occasion, expression=np.zeros(52, np.float32), hat=False, glasses=False, occluder=None, loose_hair=False,
        pose=Pose(np.zeros(3), 1500.0, 0.6, np.zeros(2)),
    )  # fmt: skip
    person = replace(person, hair=replace(person.hair, kind=None))
    photograph = take_photograph(rng, surface, model, person, plain, 224)
    column, row = photograph.landmarks[36:42].mean(0).astype(int)
    assert photograph.labels[row, column] == CLASS["r_eye"]  # iBUG 36-41 is the subject's right eye
    column, row = photograph.landmarks[30].astype(int)
    assert photograph.labels[row, column] == CLASS["nose"]
    assert photograph.visible[36:48].all() and photograph.visible[30]
    lips = photograph.landmarks[[51, 57]]
    assert lips[0, 1] < lips[1, 1]


def test_far_side_of_a_profile_is_hidden(surface, model):
    rng = stream(1, TRAINING_DOMAIN, 1)
    person = sample_person(rng, surface)
    person = replace(person, hair=replace(person.hair, kind=None))
    occasion = sample_occasion(rng, surface.generator.expression_names)
    profile = Pose(np.radians([0.0, 80.0, 0.0]), 1500.0, 0.5, np.zeros(2))
    side = replace(occasion, pose=profile, occluder=None, glasses=False, hat=False)
    photograph = take_photograph(rng, surface, model, person, side, 160)
    # The nose points to the image's right: the subject's left half is hidden.
    assert photograph.visible[:8].mean() > 0.6 and photograph.visible[9:17].mean() < 0.4
    assert photograph.landmarks[30, 0] > photograph.landmarks[0, 0]


def points_at(*places: tuple[float, float, float]) -> np.ndarray:
    """(68, 3) px, px, mm: the places in turn."""
    return np.array([places[k % len(places)] for k in range(68)], np.float32)


def plane(size: int, depth: float = 505.0, label: str = "skin") -> tuple[np.ndarray, np.ndarray]:
    return np.full((size, size), depth, np.float32), np.full((size, size), CLASS[label], np.uint8)


@pytest.mark.parametrize("outside", [(-0.6, 40.0), (40.0, -0.01), (96.0, 40.0)])
def test_a_landmark_just_outside_the_photograph_is_not_visible(outside):
    points = points_at((20.0, 20.0, 500.0))
    points[0, :2] = outside
    visible, occlusion = landmark_visibility(points, *plane(144), plane(96)[0])
    assert not visible[0] and visible[1:].all() and occlusion == 0.0


def test_what_hides_a_landmark_counts_as_occlusion_unless_it_is_the_head_itself():
    points = points_at((20.0, 20.0, 500.0), (60.0, 20.0, 500.0))
    right = points[:, 0] > 50.0
    depth, labels = plane(96)
    bare = depth.copy()
    depth[:, 50:], labels[:, 50:] = 400.0, CLASS["hair"]
    visible, occlusion = landmark_visibility(points, depth, labels, bare)
    assert np.array_equal(visible, ~right) and occlusion == 0.5
    visible, occlusion = landmark_visibility(points, depth, labels, depth)  # the head would hide it without the hair
    assert np.array_equal(visible, ~right) and occlusion == 0.0
    labels[:, 50:], depth[:, 50:] = CLASS["eye_g"], 505.0  # a clear lens leaves the depth behind it
    assert landmark_visibility(points, depth, labels, bare)[0].all()


@pytest.mark.parametrize("cover", ["hair", "hat", "cloth", "background"])
def test_what_lies_on_the_skin_hides_it_but_not_what_lies_behind_it(cover):
    """Hair 2 mm before a cheek, a mask on a nose: closer than the tolerance between coarse and fine mesh."""
    points, bare = points_at((20.0, 20.0, 500.0)), plane(96)[0]
    visible, occlusion = landmark_visibility(points, *plane(96, 498.0, cover), bare)
    assert not visible.any() and occlusion == 1.0
    behind = landmark_visibility(points, *plane(96, 560.0, cover), bare)  # long hair behind the outline of a jaw
    assert behind[0].all() and behind[1] == 0.0


def test_a_landmark_of_the_outline_is_judged_by_its_pixels_neighbours():
    depth, labels = plane(96, 500.0)
    depth[:, 50:], labels[:, 50:] = np.inf, 0
    front, far, alone = (50.2, 20.0, 503.0), (50.2, 40.0, 560.0), (70.0, 40.0, 503.0)
    visible, occlusion = landmark_visibility(points_at(front, far, alone), depth, labels, depth)
    assert visible[0] and not visible[1] and visible[2] and occlusion == 0.0


def test_the_bare_heads_depth_is_that_of_its_nearest_surface(surface):
    pose = Pose(np.zeros(3), 1000.0, 0.6, np.zeros(2))
    head = surface.template
    camera = place_camera(head[surface.is_part("skin")], pose, 64)
    depth = head_depth(camera, surface, head, 64)
    nose = camera.project(head[head[:, 2].argmax()][None])[0]
    assert depth[int(nose[1]), int(nose[0])] == pytest.approx(nose[2], abs=3.0)
    assert depth.min() > nose[2] - 1.0 and np.isinf(depth[0, 0])


def test_identities_of_training_and_benchmark_come_from_different_streams():
    training = stream(7, TRAINING_DOMAIN, 0).random(4)
    assert not np.allclose(training, stream(7, BENCHMARK_DOMAIN, 0).random(4))
    assert not np.allclose(training, stream(7, TRAINING_DOMAIN, 0, 0).random(4))


def test_photographs_of_a_subject_share_the_shape_and_differ_in_the_rest(surface, model):
    person, taken = render_subject(2, 9, 2, 96, surface, model)
    (first, one), (second, two) = taken
    assert not np.array_equal(one.image, two.image) and first.pose.distance != second.pose.distance
    again, _ = render_subject(2, 9, 1, 96, surface, model)
    assert np.array_equal(person.neutral, again.neutral)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_damaged_ground_truth_is_named(shard, tmp_path, damage):
    path = tmp_path / "ground_truth.h5"
    if damage == "truncated":
        path.write_bytes((shard / "ground_truth.h5").read_bytes()[:2000])
    if damage == "foreign":
        with h5py.File(path, "w") as file:
            file.attrs["kind"] = "something else"
    with pytest.raises(InputError, match="ground_truth.h5"):
        load_ground_truth(tmp_path)


def test_nonsense_sizes_are_refused(tmp_path):
    with pytest.raises(InputError):
        write_photographs(tmp_path / "x", 0, 0, 1)
    with pytest.raises(InputError):
        write_photographs(tmp_path / "x", 0, 1, 1, size=7)
    assert not (tmp_path / "x").exists()
