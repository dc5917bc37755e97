from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_models import converted
from publisher_files import flame_content, landmark_places, save_pickle
from scipy.spatial.transform import Rotation

from facerecon.morphable.formats import flame
from facerecon.morphable.skinned import JAW_UNIT, SkinnedFaceModel, rotation_matrices
from facerecon.morphable.source_model import SourceModel


@pytest.fixture(scope="module")
def published() -> dict:
    return flame_content(np.random.default_rng(0), size=9, identity=300, expression=10)


@pytest.fixture(scope="module")
def source(published: dict, tmp_path_factory: pytest.TempPathFactory) -> SourceModel:
    folder: Path = tmp_path_factory.mktemp("flame")
    path = save_pickle(folder / "generic_model.pkl", published)
    return flame.read([path]).with_landmarks(*landmark_places(np.random.default_rng(1), (68,), 128))


@pytest.fixture(scope="module")
def model(source: SourceModel) -> SkinnedFaceModel:
    return SkinnedFaceModel(converted(source)).double()


def posed_slowly(published: dict, identity: np.ndarray, expression: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """FLAME's vertices (V, 3), mm, in the publisher's frame: every step as the paper writes it, vertex by vertex.

    pose: (4, 3) rotation vectors of neck, jaw, left and right eye.
    """
    shaped = published["v_template"] + published["shapedirs"] @ np.concatenate([identity, expression])
    joints = published["J_regressor"].toarray() @ shaped
    rotations = [np.eye(3)] + [Rotation.from_rotvec(turn).as_matrix() for turn in pose]
    feature = np.concatenate([(rotation - np.eye(3)).ravel() for rotation in rotations[1:]])
    corrected = shaped + published["posedirs"] @ feature
    to_world: list[np.ndarray] = []
    for joint, rotation in enumerate(rotations):
        parent = None if joint == 0 else published["kintree_table"][0, joint]
        local = np.eye(4)
        local[:3, :3] = rotation
        local[:3, 3] = joints[joint] if parent is None else joints[joint] - joints[parent]
        to_world.append(local if parent is None else to_world[parent] @ local)
    posed = np.empty_like(shaped)
    for vertex, place in enumerate(corrected):
        blended = np.zeros(3)
        for joint, weight in enumerate(published["weights"][vertex]):
            from_joint = place - joints[joint]
            blended += weight * (to_world[joint][:3, :3] @ from_joint + to_world[joint][:3, 3])
        posed[vertex] = blended
    return 1000 * posed


def jaw_at_rest(expression: np.ndarray) -> np.ndarray:
    """Expression coefficients (B, E' + 3) from (B, E')."""
    return np.concatenate([expression, np.zeros((len(expression), 3))], 1)


def test_fast_skinning_equals_the_slow_one(published: dict, source: SourceModel, model: SkinnedFaceModel) -> None:
    rng = np.random.default_rng(2)
    identity, expression = rng.normal(size=(3, 300)), rng.normal(size=(3, 10))
    pose = rng.normal(0, 0.4, (3, 4, 3))
    pose[1, 2:] = 0
    found = model.decode(*map(torch.tensor, (identity, jaw_at_rest(expression), pose))).numpy()
    at_rest = posed_slowly(published, np.zeros(300), np.zeros(10), np.zeros((4, 3)))
    origin = source.landmarks(at_rest).mean(0)
    for k in range(3):
        expected = posed_slowly(published, identity[k], expression[k], pose[k]) - origin
        np.testing.assert_allclose(found[k], expected, atol=1e-4)
        assert np.abs(expected - source.decode(identity[k], expression[k])).max() > 1  # the pose matters


def test_single_precision_is_close(source: SourceModel, model: SkinnedFaceModel) -> None:
    rng = np.random.default_rng(3)
    given = [
        torch.tensor(rng.normal(0, size, shape)) for size, shape in ((1, (2, 300)), (1, (2, 13)), (0.3, (2, 4, 3)))
    ]
    single = SkinnedFaceModel(converted(source)).decode(*(value.float() for value in given))
    assert (single - model.decode(*given)).abs().max() < 1e-3


def test_at_rest_it_is_the_linear_model(source: SourceModel, model: SkinnedFaceModel) -> None:
    rng = np.random.default_rng(4)
    identity, expression = rng.normal(size=300), rng.normal(size=10)
    found = model.decode(torch.tensor(identity)[None], torch.tensor(jaw_at_rest(expression[None])))[0]
    np.testing.assert_allclose(found, source.decode(identity, expression), atol=1e-9)
    assert model.landmarks(model.mean[None]).mean(1).abs().max() < 1e-4


def test_expression_s_tail_turns_the_jaw(model: SkinnedFaceModel) -> None:
    rng = np.random.default_rng(5)
    identity, expression = torch.tensor(rng.normal(size=(2, 300))), torch.tensor(rng.normal(size=(2, 10)))
    tail, pose = torch.tensor(rng.normal(size=(2, 3))), torch.tensor(rng.normal(0, 0.2, (2, 4, 3)))
    assert model.dimensions == {"identity": 300, "expression": 13, "albedo": 0}
    found = model.decode(identity, torch.cat([expression, tail], 1), pose)
    turned = pose.clone()
    turned[:, 1] += JAW_UNIT * tail
    at_rest = torch.cat([expression, torch.zeros_like(tail)], 1)
    assert torch.allclose(found, model.decode(identity, at_rest, turned), atol=1e-12)
    alone = torch.zeros(2, 4, 3, dtype=torch.float64)
    alone[:, 1] = JAW_UNIT * tail
    without_pose = model.decode(identity, torch.cat([expression, tail], 1))
    assert torch.allclose(without_pose, model.decode(identity, at_rest, alone), atol=1e-12)


def test_batched_equals_single(model: SkinnedFaceModel) -> None:
    rng = np.random.default_rng(6)
    given = [
        torch.tensor(rng.normal(0, size, shape)) for size, shape in ((1, (3, 300)), (1, (3, 13)), (0.3, (3, 4, 3)))
    ]
    together = model.decode(*given)
    for k in range(3):
        assert torch.allclose(model.decode(*(value[k : k + 1] for value in given))[0], together[k], atol=1e-9)
    assert model.decode(*(value[:0] for value in given)).shape == (0, 81, 3)


@pytest.mark.parametrize("at_rest", [False, True])
def test_gradients(source: SourceModel, at_rest: bool) -> None:
    keep = np.arange(0, 81, 9)
    skinning = source.skinning
    weights, correctives = skinning.weights[keep], skinning.pose_correctives[:, keep]
    regressor = skinning.joint_regressor[:, keep] / skinning.joint_regressor[:, keep].sum(1, keepdims=True)
    small = replace(
        source,
        mean=source.mean[keep],
        identity=source.identity[:2, keep],
        expression=source.expression[:2, keep],
        triangles=source.triangles[:1] * 0,
        landmark_triangles=None,
        landmark_barycentric=None,
        skinning=replace(skinning, joint_regressor=regressor, weights=weights, pose_correctives=correctives),
    )
    model = SkinnedFaceModel(converted(small)).double()
    rng = np.random.default_rng(7)
    scale = 0.0 if at_rest else 0.5
    given = [
        torch.tensor(rng.normal(0, size, shape), requires_grad=True)
        for size, shape in ((1, (2, 2)), (scale, (2, 5)), (scale, (2, 4, 3)))
    ]
    assert torch.autograd.gradcheck(model.decode, given)


def test_rotation_matrices() -> None:
    vectors = np.random.default_rng(8).normal(0, 1.5, (50, 3))
    vectors[:3] = [[0, 0, 0], [1e-6, 0, 0], [0, np.pi, 0]]
    found = rotation_matrices(torch.tensor(vectors)).numpy()
    np.testing.assert_allclose(found, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    single = rotation_matrices(torch.tensor(vectors, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(single, found, atol=1e-6)


def test_wrong_inputs_are_refused(source: SourceModel, model: SkinnedFaceModel) -> None:
    identity = torch.zeros(1, 300, dtype=torch.float64)
    with pytest.raises(ValueError, match="13 entries, not 10"):
        model.decode(identity, torch.zeros(1, 10))
    with pytest.raises(ValueError, match="pose must be"):
        model.decode(identity, torch.zeros(1, 13), torch.zeros(1, 5, 3))
    for broken, match in (
        (replace(source, skinning=None), "no jaw joint"),
        (replace(source, interaction=np.zeros((300, 10, 81, 3), np.float32)), "bilinear"),
    ):
        with pytest.raises(ValueError, match=match):
            SkinnedFaceModel(converted(broken))
    with pytest.raises(ValueError, match="no landmarks"):
        replace(source, landmark_triangles=None).landmarks(source.mean)
    assert model.decode_albedo(torch.zeros(2, 0, dtype=torch.float64)).shape == (2, 81, 3)


def test_landmarks_slopes_are_those_of_small_steps(model: SkinnedFaceModel) -> None:
    mean, slopes = model.linearise_landmarks()
    assert mean.shape == (68, 3) and slopes.shape == (68, 3, 313)
    for column in (0, 299, 300, 309, 310, 311, 312):
        step = torch.zeros(2, 313, dtype=torch.float64)
        step[:, column] = torch.tensor([1e-4, -1e-4])
        places = model.landmarks(model.decode(step[:, :300], step[:, 300:])).numpy()
        np.testing.assert_allclose(slopes[..., column], (places[0] - places[1]) / 2e-4, atol=1e-3)
        assert np.abs(slopes[..., column]).max() > 1e-3


def test_jacobian_is_that_of_small_steps_at_any_coefficients(model: SkinnedFaceModel) -> None:
    generator = torch.Generator().manual_seed(9)
    both = torch.randn(313, generator=generator, dtype=torch.float64)
    both[310:] *= 3
    ids = torch.tensor([0, 40, 80, 17])
    found = model.jacobian(both[:300], both[300:], ids)
    assert found.shape == (4, 3, 313)
    for column in (0, 299, 300, 309, 310, 311, 312):
        step = both.repeat(2, 1)
        step[:, column] += torch.tensor([1e-4, -1e-4])
        vertices = model.decode(step[:, :300], step[:, 300:])[:, ids]
        torch.testing.assert_close(found[..., column], (vertices[0] - vertices[1]) / 2e-4, atol=2e-3, rtol=0)
    turned = found - model.jacobian(0 * both[:300], 0 * both[300:], ids)
    assert turned[..., :310].abs().max() > 0.05  # the turned jaw turns what the components add


def test_the_jaw_s_turn_is_mirrored(model: SkinnedFaceModel) -> None:
    expression = torch.zeros(1, 13, dtype=torch.float64)
    expression[0, 10:] = torch.tensor([1.0, 2.0, 3.0])
    assert model.mirror_expression(expression)[0, 10:].tolist() == [1.0, -2.0, -3.0]
