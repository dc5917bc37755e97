"""The head's parts: they follow the face's coefficients, fit it without a gap, and make one whole head with it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from facerecon.errors import InputError
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable import arkit
from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.head_data import load_head_data, mirror_image
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.parts import EYES, LASHES, HeadMesh, HeadParts, load_parts
from facerecon.morphable.parts_build import expression_regression
from facerecon.morphable.parts_file import CARRIED_PATH, read_parts, save_parts
from facerecon.morphable.storage import CARRIED_PATH as MODEL_PATH
from facerecon.morphable.storage import load_face_model
from facerecon.morphable.subdivision import boundary_loops
from facerecon.morphable.uv_layout import signed_areas

NAMES = {"head", "eye_sockets", "mouth_cavity", "teeth_upper", "teeth_lower", "tongue", *EYES, LASHES}
LARGEST_FILE = 3_000_000


@pytest.fixture(scope="module")
def model() -> LinearFaceModel:
    return load_face_model(level=1)


@pytest.fixture(scope="module")
def parts(model: LinearFaceModel) -> HeadParts:
    return load_parts(model)


def draw(seed: int, count: int = 1, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 80, generator=generator) * scale, torch.randn(count, 64, generator=generator) * scale


def arkit_surfaces(parts: HeadParts, **weights: float) -> dict[str, torch.Tensor]:
    strength = np.array([weights.get(name, 0.0) for name in arkit.ARKIT_NAMES], dtype=np.float32)
    offsets = torch.from_numpy(np.tensordot(strength, arkit.head_basis(parts), 1))
    return parts.surfaces(parts.mean[None], offsets[None])


def test_carried_files_stay_small() -> None:
    assert CARRIED_PATH.stat().st_size < LARGEST_FILE
    assert MODEL_PATH.stat().st_size < 8_000_000


def test_parts_are_there_and_consistent(parts: HeadParts) -> None:
    assert set(parts.names) == NAMES
    for name, part in parts.parts.items():
        assert part.triangles.min() == 0 and part.triangles.max() == len(part.uv) - 1, name
        np.testing.assert_allclose(part.operator.sum(1), 1, atol=1e-9)
        assert part.uv.min() >= 0 and part.uv.max() <= 1
        if name != LASHES:
            assert (signed_areas(part.uv.astype(np.float64), part.triangles) > 0).all(), name


def test_charts_do_not_fold_at_the_finest_level() -> None:
    for name, part in load_parts(load_face_model(level=2)).parts.items():
        if name != LASHES:
            assert (signed_areas(part.uv.astype(np.float64), part.triangles) > 0).all(), name


def test_charts_of_parts_do_not_overlap(parts: HeadParts) -> None:
    """Each patch keeps to its cell: no two parts claim one texel."""
    claimed = np.zeros((64, 64), dtype=int)
    for name, part in parts.parts.items():
        cells = np.unique((part.uv[part.triangles].mean(1) * 64).astype(int), axis=0)
        if name != LASHES:
            claimed[cells[:, 1], cells[:, 0]] += 1
    assert claimed.max() == 1


def test_head_is_mirror_symmetric(parts: HeadParts, model: LinearFaceModel) -> None:
    mean = parts.mean.numpy()
    np.testing.assert_array_equal(parts.mirror[parts.mirror], np.arange(len(mean)))
    np.testing.assert_array_equal(mirror_image(mean, parts.mirror), mean)
    identity, expression = draw(0)
    ours = parts.decode(identity, expression)
    image = parts.decode(identity * model.identity_signs, expression * model.expression_signs)
    for name, other in (("teeth_lower", "teeth_lower"), ("eye_left", "eye_right"), ("head", "head")):
        first, second = ours[name][0].numpy() * [-1, 1, 1], image[other][0].numpy()
        for axis in range(3):  # the same points in another order
            np.testing.assert_allclose(np.sort(first[:, axis]), np.sort(second[:, axis]), atol=0.02)


def test_parts_follow_held_out_heads(parts: HeadParts, model: LinearFaceModel) -> None:
    generator, rng = HeadGenerator.load(), np.random.default_rng(99)
    heads = generator.neutral_batch([generator.sample_identity(rng) for _ in range(60)])[:, parts.head_vertices]
    count = len(model.coarse.mean)
    coefficients = model.project_identity(heads[:, :count])
    fitted = parts.mean.numpy() + np.tensordot(coefficients, parts.identity_basis.numpy(), 1)
    for name, bound in (("eye_left", 0.4), ("teeth_upper", 1.0), ("tongue", 1.0), ("mouth_cavity", 1.0), ("head", 3.0)):
        ids = np.unique(read_parts().quads[name])
        ids = ids[ids >= count]
        error = ((fitted - heads)[:, ids] ** 2).sum(-1)
        spread = ((heads - parts.mean.numpy())[:, ids] ** 2).sum(-1)
        assert np.sqrt(error.mean()) < bound, name
        assert error.mean() < 0.1 * spread.mean(), name


def test_jaw_moves_lower_teeth_and_tongue_through_the_coefficients(parts: HeadParts, model: LinearFaceModel) -> None:
    coefficients, _ = arkit.arkit_coefficients(model)
    opened = torch.from_numpy(coefficients[[arkit.ARKIT_NAMES.index("jawOpen")]])
    shut, wide = (parts.decode(torch.zeros(1, 80), scale * opened) for scale in (0.0, 1.0))
    exact = arkit_surfaces(parts, jawOpen=1.0)
    for name in ("teeth_lower", "tongue"):
        moved = (wide[name] - shut[name])[0]
        assert moved[:, 1].mean() < -10, name
        assert (wide[name] - exact[name]).norm(dim=-1).max() < 1, name
    assert (wide["teeth_upper"] - shut["teeth_upper"]).norm(dim=-1).max() < 0.1


def test_only_arkits_own_tongue_comes_out(parts: HeadParts) -> None:
    out = arkit_surfaces(parts, tongueOut=1.0)["tongue"][0, :, 2].max()
    assert out > arkit_surfaces(parts)["tongue"][0, :, 2].max() + 10


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eyeballs_turn_rigidly_about_their_centres(parts: HeadParts, seed: int) -> None:
    identity, expression = draw(seed)
    ahead = parts.decode(identity, expression, torch.zeros(1, 2))
    gaze = torch.tensor([[[0.1, 0.3], [-0.2, 0.4]]])
    turned = parts.decode(identity, expression, gaze)
    rotation = euler_to_matrix(torch.cat([gaze[0], torch.zeros(2, 1)], -1))
    coarse = parts.mean + (identity @ parts.identity_basis.flatten(1)).unflatten(-1, (-1, 3))[0]
    for k, name in enumerate(EYES):
        centre = coarse[np.unique(read_parts().quads[name])].mean(0)
        expected = (ahead[name][0] - centre) @ rotation[k].T + centre
        np.testing.assert_allclose(turned[name][0], expected, atol=1e-3)
    for name in NAMES - set(EYES):
        np.testing.assert_array_equal(turned[name], ahead[name])


def test_gaze_looks_where_it_says(parts: HeadParts) -> None:
    """Positive yaw is to the subject's left (+x), positive pitch down."""
    iris = parts.parts["eye_left"].operator @ parts.mean.numpy()
    iris = np.argmax(iris[:, 2])
    ahead, left, down = (
        parts.decode(torch.zeros(1, 80), torch.zeros(1, 64), torch.tensor([gaze]))["eye_left"][0, iris]
        for gaze in ([0.0, 0.0], [0.0, 0.4], [0.3, 0.0])
    )
    assert left[0] - ahead[0] > 4 and down[1] - ahead[1] < -3


def test_gaze_is_read_from_the_expression(parts: HeadParts) -> None:
    def gaze(**weights: float) -> np.ndarray:
        strength = np.array([weights.get(name, 0.0) for name in arkit.ARKIT_NAMES], dtype=np.float32)
        offsets = torch.from_numpy(np.tensordot(strength, arkit.head_basis(parts), 1))
        return np.degrees(parts.gaze(parts.mean[None], offsets[None])[0].numpy())

    np.testing.assert_allclose(gaze(), 0, atol=1e-4)
    left = gaze(eyeLookOutLeft=1.0, eyeLookInRight=1.0)
    assert (left[:, 1] > 15).all() and np.abs(left[:, 0]).max() < 2
    assert (gaze(eyeLookDownLeft=1.0, eyeLookDownRight=1.0)[:, 0] > 10).all()
    assert (gaze(eyeLookUpLeft=1.0, eyeLookUpRight=1.0)[:, 0] < -5).all()


def test_batches_and_gradients(parts: HeadParts) -> None:
    identity, expression = draw(5, 3)
    together = parts.decode(identity, expression)
    alone = parts.decode(identity[1:2], expression[1:2])
    for name in NAMES:
        np.testing.assert_allclose(together[name][1], alone[name][0], atol=1e-3)
    identity.requires_grad_()
    expression.requires_grad_()
    sum(vertices.square().mean() for vertices in parts.decode(identity, expression).values()).backward()
    assert (identity.grad.abs().sum() > 0) and (expression.grad.abs().sum() > 0)


def assembled(parts: HeadParts, model: LinearFaceModel, seed: int) -> HeadMesh:
    identity, expression = draw(seed, scale=0.8)
    return parts.assemble(model.decode(identity, expression), parts.decode(identity, expression))


@pytest.mark.parametrize("seed", [0, 1])
def test_whole_head_is_one_closed_surface(parts: HeadParts, model: LinearFaceModel, seed: int) -> None:
    """Face, sockets, mouth and the rest of the skin join without a gap: only the neck is open."""
    mesh = assembled(parts, model, seed)
    vertices = mesh.vertices[0]
    np.testing.assert_allclose(vertices[mesh.welded], vertices, atol=2e-2)  # mm, where copies meet
    joined = [mesh.names.index(name) for name in ("face", "head", "eye_sockets", "mouth_cavity")]
    skin = mesh.welded[mesh.triangles[np.isin(mesh.part, joined)]]
    loops = boundary_loops(skin)
    assert len(loops) == 1 and mesh.vertices[0, loops[0], 1].mean() < -40
    for name in ("tongue", *EYES):
        assert not boundary_loops(mesh.welded[mesh.triangles[mesh.part == mesh.names.index(name)]])


def test_assembly_leaves_the_half_eyeballs_out(parts: HeadParts, model: LinearFaceModel) -> None:
    face, inside = model.decode(*draw(3)), parts.decode(*draw(3))
    whole, teeth = parts.assemble(face, inside), parts.assemble(face, inside, ("teeth_upper", "teeth_lower"))
    assert (whole.part == 0).sum() < len(model.topology.triangles) == (teeth.part == 0).sum()
    assert whole.vertices.shape[1] == len(whole.uv) == whole.triangles.max() + 1
    face_u, part_u = (whole.uv[np.unique(whole.triangles[chosen]), 0] for chosen in (whole.part == 0, whole.part > 0))
    assert face_u.max() <= 0.5 <= part_u.min()
    with pytest.raises(ValueError, match="no part 'nose'"):
        parts.assemble(face, inside, ("nose",))


def test_assembled_head_survives_export(parts: HeadParts, model: LinearFaceModel, tmp_path: Path) -> None:
    from facerecon.geometry.mesh_files import read_mesh
    from facerecon.geometry.obj_files import write_obj

    mesh = assembled(parts, model, 0)
    write_obj(tmp_path / "head.obj", mesh.vertices[0].numpy(), mesh.triangles, mesh.uv)
    again = read_mesh(tmp_path / "head.obj")
    np.testing.assert_array_equal(again.triangles, mesh.triangles)


def test_teeth_stay_behind_the_lips(parts: HeadParts, model: LinearFaceModel) -> None:
    """On 40 neutral faces the front of the teeth lies behind the lips' front, with the tongue behind the teeth."""
    identity, _ = draw(7, 40)
    face, inside = model.decode(identity, torch.zeros(40, 64)), parts.decode(identity, torch.zeros(40, 64))
    lips = face[:, torch.from_numpy(model.topology.regions["lips"]), 2].amax(1)
    teeth = torch.cat([inside["teeth_upper"], inside["teeth_lower"]], 1)[..., 2].amax(1)
    assert (lips - teeth).min() > 1
    assert (teeth - inside["tongue"][..., 2].amax(1)).min() > 1


def test_skin_colour_meets_the_faces(parts: HeadParts, model: LinearFaceModel) -> None:
    albedo = torch.randn(4, 80, generator=torch.Generator().manual_seed(1))
    colours = parts.decode_albedo(albedo)
    face = model.decode_albedo(albedo)
    head = parts.parts["head"]
    distance, nearest = cKDTree(model.mean.numpy()).query(head.operator @ parts.mean.numpy())
    rim = np.flatnonzero(distance < 1e-3)
    assert len(rim) == 2 * 76  # the face's outline at level 1
    assert (colours["head"][:, rim] - face[:, nearest[rim]]).abs().max() < 0.03
    irises = colours["eye_left"][:, :, 2].std(1)
    assert irises.std() > 1e-4  # irises take the person's colour


def test_atlas_shows_the_parts_colours(parts: HeadParts) -> None:
    atlas = parts.paint_atlas(torch.zeros(80), 256)
    assert atlas.shape == (256, 256, 3) and atlas.min() >= 0 and atlas.max() <= 1
    colours = parts.decode_albedo(torch.zeros(1, 80))
    for name in ("head", "tongue", LASHES):
        uv = parts.parts[name].uv
        texels = atlas[((1 - uv[:, 1]) * 256).astype(int).clip(0, 255), (uv[:, 0] * 256).astype(int).clip(0, 255)]
        assert np.median(np.abs(texels - colours[name][0].numpy())) < 0.02, name


def test_parts_refuse_another_face_model(model: LinearFaceModel, tmp_path: Path) -> None:
    from dataclasses import replace

    stored = read_parts()
    save_parts(stored, tmp_path / "same.h5")
    assert (tmp_path / "same.h5").read_bytes() == CARRIED_PATH.read_bytes()
    save_parts(replace(stored, face_model_sha256="0" * 64), tmp_path / "other.h5")
    with pytest.raises(InputError, match="belong to the face model 000000000000, not to"):
        load_parts(model, tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes(CARRIED_PATH.read_bytes()[:100_000])
    with pytest.raises(InputError, match="damaged"):
        load_parts(model, tmp_path / "cut.h5")


def test_carried_parts_belong_to_the_carried_model_and_head(parts: HeadParts, model: LinearFaceModel) -> None:
    """The regression repeated gives the carried expression basis, and the face's own on the face."""
    head = load_head_data()
    count = len(model.coarse.mean)
    again = expression_regression(model, head, parts.head_vertices)
    assert np.abs(again[:, count:] - parts.expression_basis.numpy()[:, count:]).max() < 5e-3
    importance = model.coarse.is_skin
    assert np.abs(again[:, :count][:, importance] - model.coarse.expression[:, importance]).max() < 0.2
