"""Completing published models: what is missing is carried over from the open model, and lands where it belongs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_models import flame_head, write_flame_head
from toy_faces import remeshed

from facerecon.errors import InputError
from facerecon.morphable import completion, mean_face_landmarks
from facerecon.morphable.completion import complete_model, convert_files, mirror_matrix
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.mean_face_landmarks import find_landmarks
from facerecon.morphable.parts import load_parts
from facerecon.morphable.source_model import ConvertedModel, SourceModel
from facerecon.morphable.storage import load_face_model, load_open_model
from facerecon.morphable.topology import NOW_LANDMARKS
from facerecon.morphable.transfer import Mesh, map_vertices

STRETCH, OFFSET = np.array([1.03, 0.97, 1.02]), np.array([0.0, -50.0, 10.0])


@pytest.fixture(scope="module")
def bare() -> SourceModel:
    """A coarse head of other proportions, far from the origin, without all that may be missing."""
    content, coarse = flame_head(), load_open_model().coarse
    mean = 1000 * content["v_template"] * STRETCH + OFFSET
    return SourceModel(
        name="bare",
        licence="",
        mean=mean.astype(np.float32),
        triangles=content["f"].astype(np.int32),
        identity=coarse.identity[:12],
        expression=coarse.expression[:6],
    )


@pytest.fixture(scope="module")
def completed(bare: SourceModel) -> ConvertedModel:
    return complete_model(bare)


def true_landmarks(bare: SourceModel) -> np.ndarray:
    coarse = load_open_model().coarse
    return (coarse.landmark_operator @ coarse.mean) * STRETCH + OFFSET


def test_landmarks_are_carried_over(bare: SourceModel, completed: ConvertedModel) -> None:
    source = completed.source
    found = source.landmarks(source.mean.astype(np.float64))
    distance = np.linalg.norm(found + source.origin - true_landmarks(bare), axis=1)
    assert distance[17:].mean() < 1.5 and distance[17:].max() < 4 and distance[:17].mean() < 4
    assert np.abs(found.mean(0)).max() < 1e-3
    assert "carried over" in completed.completed["landmarks"]


def test_the_rest_is_filled_in(bare: SourceModel, completed: ConvertedModel) -> None:
    source, open_model = completed.source, load_open_model()
    topology, count = open_model.topology, len(bare.mean)
    for name, mask in completed.regions.items():
        assert (mask == topology.regions[name][:count]).mean() > 0.97, name
    albedo = open_model.albedo_mean.numpy()[:count]
    assert np.abs(source.albedo_mean - albedo).mean() < 0.01 and source.albedo.shape == (80, count, 3)
    assert source.uv.min() >= 0 and source.uv.max() <= 1 and completed.completed["uv"] == "estimated"
    np.testing.assert_array_equal(completed.mirror, topology.mirror[:count])
    assert np.abs(completed.identity_mirror - np.diag(open_model.identity_signs[:12])).max() < 0.05
    assert np.abs(completed.expression_mirror - np.diag(open_model.expression_signs[:6])).max() < 0.05


def test_given_landmarks_are_used(bare: SourceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(bare, mean=bare.mean - 7, origin=np.full(3, 7.0))
    given = true_landmarks(bare)
    monkeypatch.setattr(completion, "estimate_uv", lambda *_: pytest.fail("there is a chart"))
    model = complete_model(replace(bare, uv=np.zeros((len(bare.mean), 2), np.float32)), given)
    found = model.source.landmarks(model.source.mean.astype(np.float64)) + model.source.origin
    assert np.abs(found - given).max() < 1.5  # the coarse mesh lies that far from the smooth surface
    assert model.completed["landmarks"] == "given with the conversion"
    assert model.completed["uv"] == "the publisher's"


def test_registration_starts_from_what_there_is(bare: SourceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    open_model, marks = load_open_model(), true_landmarks(bare)
    monkeypatch.setattr(completion, "find_landmarks", lambda *_: pytest.fail("landmarks are there"))
    seven = marks[list(NOW_LANDMARKS)]
    moved = replace(bare, origin=np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(completion._registration_landmarks(moved, seven, open_model)[0], seven - [1, 2, 3])
    named = np.full((68, 3), np.nan)
    named[[30, 36, 45, 48]] = marks[[30, 36, 45, 48]]
    start, origin = completion._registration_landmarks(replace(bare, start_landmarks=named), None, open_model)
    np.testing.assert_array_equal(start, named)
    assert origin == "points that the publisher names"
    monkeypatch.setattr(completion, "find_landmarks", lambda *_: marks)
    named[30] = np.nan  # three are too few
    start, origin = completion._registration_landmarks(replace(bare, start_landmarks=named), None, open_model)
    assert start is marks and origin == "landmarks found by shape"


def test_named_landmarks_are_enough_to_place_the_68(bare: SourceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "find_landmarks", lambda *_: pytest.fail("the publisher names some"))
    named = np.full((68, 3), np.nan)
    names = [30, 36, 39, 42, 45, 48, 54]
    named[names] = true_landmarks(bare)[names]
    model = complete_model(replace(bare, start_landmarks=named, uv=np.zeros((len(bare.mean), 2), np.float32)))
    found = model.source.landmarks(model.source.mean.astype(np.float64)) + model.source.origin
    distance = np.linalg.norm(found - true_landmarks(bare), axis=1)
    assert distance[17:].mean() < 1.0 and distance[17:].max() < 3
    assert model.completed["landmarks"].endswith("from points that the publisher names")


HEADS = [(1, True), (3, True), (3, False), (8, True)]


@pytest.mark.parametrize(("seed", "whole"), HEADS, ids=lambda value: str(value))
def test_landmarks_are_found_on_other_faces(training_model: LinearFaceModel, seed: int, whole: bool) -> None:
    """Faces of random identity, stretched and in another triangulation: as meshes of the face, and with the head."""
    identity = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 80))).float()
    face, triangles = training_model.decode(identity, torch.zeros(1, 64)), training_model.topology.triangles
    marks = training_model.landmarks(face)[0].double().numpy() * [1.02, 0.98, 1.01]
    vertices = face[0]
    if whole:
        parts = load_parts(training_model)
        head = parts.assemble(face, parts.decode(identity, torch.zeros(1, 64)), names=("head",))
        vertices, triangles = head.vertices[0], head.triangles
    vertices, triangles = remeshed(vertices.double().numpy() * [1.02, 0.98, 1.01], triangles.astype(np.int64))
    shift = vertices.mean(0) - [4, 9, -7]
    found = find_landmarks(vertices - shift, triangles, training_model) + shift
    assert np.isnan(found[:17]).all()
    distance = np.linalg.norm(found - marks, axis=1)[17:]
    assert distance.mean() < 1.3 and distance.max() < 4


def test_starts_that_disagree_are_refused(bare: SourceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mean_face_landmarks, "_EQUAL", np.inf)  # whatever they leave of distances
    monkeypatch.setattr(mean_face_landmarks, "START_HEIGHTS", (0.0, 60.0))
    with pytest.raises(InputError, match=r"mm apart: give them with --landmarks"):
        find_landmarks(*bare.unsplit, load_open_model())


def test_a_mesh_that_no_disc_shows_takes_the_open_chart(bare: SourceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_):
        raise InputError("the mesh has 2 handles")

    monkeypatch.setattr(completion, "estimate_uv", refuse)
    open_model = load_open_model()
    mesh = Mesh(open_model.mean.numpy(), open_model.topology.triangles)
    own = replace(bare, mean=open_model.mean.numpy(), triangles=open_model.topology.triangles)
    source, origin = completion._with_uv(own, map_vertices(mesh, mesh), open_model)
    assert origin.startswith("carried over from the open face model: ") and "fold" in origin
    assert np.median(np.abs(source.uv - open_model.topology.uv)) < 1e-4


def test_seam_copies_are_no_border(completed: ConvertedModel) -> None:
    """A model cut along the middle is completed as the whole one is."""
    source, count = completed.source, len(completed.source.mean)
    right = source.mean[source.triangles, 0].mean(1) > 0
    seam = np.intersect1d(source.triangles[right], source.triangles[~right])
    number = np.arange(count)
    number[seam] = count + np.arange(len(seam))
    cut = replace(
        source,
        triangles=np.where(right[:, None], number[source.triangles], source.triangles).astype(np.int32),
        mean=np.concatenate([source.mean, source.mean[seam]]),
        identity=np.concatenate([source.identity, source.identity[:, seam]], 1),
        expression=np.concatenate([source.expression, source.expression[:, seam]], 1),
        uv=np.concatenate([source.uv, source.uv[seam]]),
        albedo_mean=None,
        albedo=None,
        seam_copies=seam,
    )
    model = complete_model(cut)
    again = complete_model(replace(source, albedo_mean=None, albedo=None))
    np.testing.assert_array_equal(model.mirror[:count], again.mirror)
    np.testing.assert_array_equal(model.mirror[count:], again.mirror[seam])
    np.testing.assert_array_equal(model.source.albedo[:, count:], model.source.albedo[:, seam])
    np.testing.assert_array_equal(model.source.albedo_mean[:count], again.source.albedo_mean)
    np.testing.assert_array_equal(model.identity_mirror, again.identity_mirror)
    for name, mask in again.regions.items():
        np.testing.assert_array_equal(model.regions[name][:count], mask)
        np.testing.assert_array_equal(model.regions[name][count:], mask[seam])


def test_mirror_matrix_of_mixed_components() -> None:
    rng = np.random.default_rng(0)
    mirror = np.array([1, 0, 3, 2, *range(4, 40)])
    basis = rng.normal(size=(5, 40, 3)).astype(np.float32)
    flipped = basis[:, mirror] * np.float32([-1, 1, 1])
    both = np.concatenate([basis + flipped, basis - flipped])
    turn = np.linalg.qr(rng.normal(size=(10, 10)))[0].astype(np.float32)
    mixed = np.tensordot(turn, both, 1)
    matrix = mirror_matrix(mixed, mirror)
    coefficients = rng.normal(size=10).astype(np.float32)
    face = np.tensordot(coefficients, mixed, 1)
    again = np.tensordot(coefficients @ matrix, mixed, 1)
    assert np.abs(face[mirror] * [-1, 1, 1] - again).max() < 0.05 * np.abs(face).max()


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory) -> FaceModel:
    folder = tmp_path_factory.mktemp("flame")
    convert_files("flame", write_flame_head(folder), folder / "flame.h5")
    return load_face_model(folder / "flame.h5")


def test_a_converted_flame_head_mirrors(flame: FaceModel) -> None:
    generator = torch.Generator().manual_seed(0)
    identity, expression = (torch.randn(3, size, generator=generator) for size in (300, 23))
    identity[:, 80:] = 0
    vertices = flame.decode(identity, expression)
    mirrored = vertices[:, torch.from_numpy(flame.topology.mirror)] * torch.tensor([-1.0, 1.0, 1.0])
    again = flame.decode(flame.mirror_identity(identity), flame.mirror_expression(expression))
    distance = torch.linalg.vector_norm(mirrored - again, dim=-1)
    assert distance.mean() < 0.3 and distance.max() < 2
    assert torch.linalg.vector_norm(vertices - mirrored, dim=-1).mean() > 1


def test_wrong_landmark_files_end_in_one_line(tmp_path: Path) -> None:
    files = write_flame_head(tmp_path)
    points = tmp_path / "points.txt"
    for text, said in (("1 2 3\n", "7 or 68"), ("nan nan nan\n" * 68, "68 landmarks must be given")):
        points.write_text(text)
        with pytest.raises(InputError, match=said) as caught:
            convert_files("flame", files, tmp_path / "flame.h5", points)
        assert "points.txt" in str(caught.value) and "\n" not in str(caught.value)
    far = tmp_path / "far.txt"
    far.write_text("".join(f"{k % 7} {400 + k} {k * k % 11}\n" for k in range(7)))
    with pytest.raises(InputError, match=r"far\.txt"):
        convert_files("flame", [files[0]], tmp_path / "flame.h5", far)
    assert not (tmp_path / "flame.h5").exists()


def test_a_mesh_without_a_face_ends_in_one_line(bare: SourceModel) -> None:
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-80, 80, 30), np.linspace(-90, 110, 30))
    wall = np.stack([x, y, rng.normal(0, 0.1, x.shape)], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(29)[:, None] * 30 + np.arange(29)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 30], 1), np.stack([corner + 1, corner + 31, corner + 30], 1)]
    )
    nothing = np.zeros((1, 900, 3), np.float32)
    source = replace(bare, mean=wall, triangles=triangles.astype(np.int32), identity=nothing, expression=nothing)
    with pytest.raises(InputError, match="give (its landmarks|them) with --landmarks") as caught:
        complete_model(source)
    assert "\n" not in str(caught.value)
