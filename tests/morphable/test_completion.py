"""Completing published models: what is missing is carried over from the open model, and lands where it belongs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_models import flame_head, write_flame_head

from facerecon.errors import InputError
from facerecon.morphable import completion
from facerecon.morphable.completion import align_mean_faces, complete_model, convert_files, mirror_matrix
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.source_model import ConvertedModel, SourceModel
from facerecon.morphable.storage import load_face_model, load_open_model
from facerecon.morphable.topology import NOW_LANDMARKS

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


def test_registration_starts_from_what_there_is(bare: SourceModel) -> None:
    open_model = load_open_model()
    placement = align_mean_faces(bare, open_model)
    own = open_model.landmarks(open_model.mean[None])[0].double().numpy()
    assert np.abs(placement.apply(own) - true_landmarks(bare))[17:].max() < 6
    seven = true_landmarks(bare)[list(NOW_LANDMARKS)]
    np.testing.assert_array_equal(completion._registration_landmarks(bare, seven, open_model), seven)


def test_a_mesh_that_no_disc_shows_takes_the_open_chart(
    bare: SourceModel, completed: ConvertedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_):
        raise InputError("the mesh has 2 handles")

    monkeypatch.setattr(completion, "estimate_uv", refuse)
    monkeypatch.setattr(completion, "register_scan", lambda *_: pytest.fail("once is enough"), raising=True)
    open_model = load_open_model()
    from facerecon.morphable.transfer import Mesh, map_vertices

    mesh = Mesh(open_model.mean.numpy(), open_model.topology.triangles)
    same = map_vertices(mesh, mesh)
    own = replace(bare, mean=open_model.mean.numpy(), triangles=open_model.topology.triangles)
    source, origin = completion._with_uv(own, same, open_model)
    assert origin == "carried over from the open face model"
    assert np.median(np.abs(source.uv - open_model.topology.uv)) < 1e-4


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
