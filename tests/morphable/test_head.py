import numpy as np
import pytest

from facerecon.morphable.head import HeadGenerator, HeadIdentity, rigid_alignment
from facerecon.morphable.head_data import mirror_image
from facerecon.morphable.linear import LinearFaceModel

PARTS = {"skin", "eye_sockets", "mouth_cavity", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue"}


@pytest.fixture(scope="module")
def identities(generator: HeadGenerator) -> list[HeadIdentity]:
    rng = np.random.default_rng(1234)
    return [generator.sample_identity(rng) for _ in range(300)]


@pytest.fixture(scope="module")
def faces(generator: HeadGenerator, identities: list[HeadIdentity]) -> np.ndarray:
    return generator.neutral_batch(identities)[:, generator.face_vertices]


def test_mesh_parts(generator: HeadGenerator) -> None:
    assert set(generator.quads) == PARTS
    assert set(generator.masks) == {"face", "lips", "ears", "eyelids", "inside_mouth"}
    left, right = (generator.template[np.unique(generator.quads[f"eye_{side}"])] for side in ("left", "right"))
    assert left[:, 0].min() > 10 and right[:, 0].max() < -10  # left is the subject's, at +x
    for name, mask in generator.masks.items():
        assert mask.shape == (len(generator.template),) and mask.min() >= 0 and mask.max() <= 1, name
    np.testing.assert_allclose(mirror_image(generator.template, generator.mirror), generator.template, atol=1e-4)
    assert generator.lash_quads.shape[1] == 4


def test_face_vertices_are_the_face_models(generator: HeadGenerator, training_model: LinearFaceModel) -> None:
    assert len(generator.face_vertices) == len(training_model.coarse_mean)
    np.testing.assert_allclose(generator.face_mean, training_model.coarse_mean, atol=0.01)
    np.testing.assert_array_equal(generator.face_is_skin, training_model.coarse.is_skin)


def test_sampling_is_deterministic(generator: HeadGenerator) -> None:
    first, second = (generator.neutral(generator.sample_identity(np.random.default_rng(3))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32 and first.shape == generator.template.shape


def test_identities_lie_in_their_ranges(identities: list[HeadIdentity]) -> None:
    assert all(18 <= identity.age <= 85 and 0 <= identity.sex <= 1 for identity in identities)
    np.testing.assert_allclose([identity.ancestry.sum() for identity in identities], 1)
    local = np.stack([identity.local for identity in identities])
    assert np.abs(local).max() <= 1 and 0.1 < local.std() < 0.3
    assert min(identity.asymmetry.min() for identity in identities) >= 0
    assert 0.3 < np.mean([identity.sex > 0.5 for identity in identities]) < 0.7


def test_macro_targets_at_a_corner_by_hand(generator: HeadGenerator) -> None:
    """A young woman of one ancestry with all other phenotypes at an anchor takes one target of each macro group."""
    identity = HeadIdentity(
        sex=0.0,
        age=20.0,
        ancestry=np.array([0.0, 1.0, 0.0]),
        muscle=0.5,
        weight=0.0,
        height=1.0,
        proportions=0.0,
        local=np.zeros(len(generator.local_names)),
        asymmetry=np.zeros(len(generator.asymmetry_names)),
    )
    from facerecon.morphable.head_data import load_head_data

    data = load_head_data()
    keys = [
        "race|asian|female|young",
        "universal|female|young|averagemuscle|minweight",
        "height|female|young|averagemuscle|minweight|maxheight",
        "proportions|female|young|averagemuscle|minweight|idealproportions",
    ]
    chosen = [data.targets["macro"][data.names["macro"].index(key)] for key in keys if key in data.names["macro"]]
    assert len(chosen) >= 3
    expected = generator.template + np.sum(chosen, axis=0)
    np.testing.assert_allclose(generator.unaligned([identity])[0], expected, atol=1e-3)


def test_negative_local_change_takes_the_negative_target(generator: HeadGenerator) -> None:
    from facerecon.morphable.head_data import load_head_data

    data = load_head_data()
    rng = np.random.default_rng(0)
    base = generator.sample_identity(rng)
    index = generator.local_names.index("nose-hump-incr")
    heads = []
    for value in (0.0, 0.5, -0.5):
        local = base.local.copy()
        local[index] = value
        heads.append(generator.unaligned([HeadIdentity(**{**vars(base), "local": local})])[0])
    np.testing.assert_allclose(heads[1] - heads[0], 0.5 * data.targets["local_positive"][index], atol=1e-3)
    np.testing.assert_allclose(heads[2] - heads[0], 0.5 * data.targets["local_negative"][index], atol=1e-3)


def test_batch_equals_single(generator: HeadGenerator, identities: list[HeadIdentity]) -> None:
    batch = generator.neutral_batch(identities[:3])
    for k in range(3):
        np.testing.assert_allclose(generator.neutral(identities[k]), batch[k], atol=1e-3)
    part = generator.unaligned(identities[:3], generator.face_vertices)
    np.testing.assert_allclose(part, generator.unaligned(identities[:3])[:, generator.face_vertices], atol=1e-3)


def test_heads_are_aligned_onto_the_mean_face(generator: HeadGenerator, faces: np.ndarray) -> None:
    skin = generator.face_is_skin
    rotation, shift = rigid_alignment(faces[:20, skin], generator.face_mean[skin])
    np.testing.assert_allclose(rotation, np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-4)
    np.testing.assert_allclose(shift, 0, atol=0.01)


def test_rigid_alignment_recovers_a_known_motion() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=(30, 3)) * [50, 40, 20]
    angle = 0.3
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    moved = (target - [1.0, 2.0, 3.0]) @ turn  # target = moved @ turn.T + (1, 2, 3)
    rotation, shift = rigid_alignment(moved[None], target)
    np.testing.assert_allclose(rotation[0], turn, atol=1e-12)
    np.testing.assert_allclose(shift[0], [1, 2, 3], atol=1e-12)
    rotation, _ = rigid_alignment(target[None] * [-1, 1, 1], target)
    assert np.linalg.det(rotation[0]) == pytest.approx(1)  # never a reflection


def test_expressions_are_linear_and_symmetric(generator: HeadGenerator) -> None:
    names = generator.expression_names
    assert len(names) == 52

    def offsets(**weights: float) -> np.ndarray:
        return generator.expression_offsets(np.array([weights.get(name, 0.0) for name in names]))

    np.testing.assert_allclose(
        offsets(jawOpen=0.4, eyeBlinkLeft=1.0), 0.4 * offsets(jawOpen=1.0) + offsets(eyeBlinkLeft=1.0), atol=1e-4
    )
    opened = offsets(jawOpen=1.0)
    np.testing.assert_allclose(mirror_image(opened, generator.mirror), opened, atol=1e-4)
    smile = offsets(mouthSmileLeft=1.0)
    np.testing.assert_allclose(mirror_image(smile, generator.mirror), offsets(mouthSmileRight=1.0), atol=1e-4)
    teeth = np.unique(generator.quads["teeth_lower"])
    assert opened[teeth, 1].mean() < -5  # the lower teeth go down with the jaw


def test_coefficients_of_sampled_heads_are_standard_normal(faces: np.ndarray, training_model: LinearFaceModel) -> None:
    coefficients = training_model.project_identity(faces)
    assert np.abs(np.sqrt((coefficients**2).mean(0)) - 1).max() < 0.2
    assert np.sqrt((coefficients.mean(0) ** 2).mean()) < 0.1
    correlation = np.corrcoef(coefficients[:, :10].T) - np.eye(10)
    assert np.abs(correlation).max() < 0.3


def test_held_out_heads_lie_near_the_basis(faces: np.ndarray, training_model: LinearFaceModel) -> None:
    coefficients = training_model.project_identity(faces)
    fitted = training_model.coarse_mean + np.tensordot(coefficients, training_model.coarse_identity, 1)
    squared = ((fitted - faces) ** 2).sum(-1)
    assert np.sqrt(squared.mean()) < 0.6  # mm
    assert squared.mean() < 0.01 * ((faces - training_model.coarse_mean) ** 2).sum(-1).mean()


def test_expressions_lie_near_the_basis(generator: HeadGenerator, training_model: LinearFaceModel) -> None:
    targets = np.stack([generator.expression_offsets(weights)[generator.face_vertices] for weights in np.eye(52)])
    coefficients = training_model.project_expression(targets)
    residual = targets - np.tensordot(coefficients, training_model.coarse_expression, 1)
    assert np.sqrt((residual**2).sum(-1).mean(1)).max() < 0.6
    assert np.abs(coefficients).max() < 10
