"""Files of converted models: what is written is read, loading chooses by kind, and bad files end in one line."""

import resource
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from published_models import converted
from publisher_files import flame_content, landmark_places, small_face

from facerecon.errors import InputError
from facerecon.morphable.formats import flame
from facerecon.morphable.formats.conversion import assemble
from facerecon.morphable.model_files import read_converted_model, save_converted_model
from facerecon.morphable.published import PublishedFaceModel
from facerecon.morphable.skinned import SkinnedFaceModel
from facerecon.morphable.source_model import ConvertedModel, MovingContour, SourceModel
from facerecon.morphable.storage import describe, face_model_sha256, load_face_model, write_mean_face
from facerecon.provenance import read_provenance

RNG = np.random.default_rng(0)


def linear_source(expressions: int = 4, bilinear: bool = False) -> SourceModel:
    vertices, triangles = small_face()
    rng = np.random.default_rng(1)
    return assemble(
        name="Small face",
        licence="for tests",
        sources={"small.mat": "0" * 64},
        notes=("expression coefficients: in feet",),
        mean=vertices + [5.0, 0.0, -20.0],
        triangles=triangles.astype(np.int32),
        identity=rng.normal(size=(6, len(vertices), 3)),
        expression=rng.normal(size=(expressions, len(vertices), 3)),
        landmarks=landmark_places(rng, (68,), len(triangles)),
        interaction=rng.normal(size=(6, expressions, len(vertices), 3)) if bilinear else None,
    )


@pytest.fixture(scope="module")
def skinned(tmp_path_factory: pytest.TempPathFactory) -> ConvertedModel:
    path = tmp_path_factory.mktemp("flame") / "generic_model.npz"
    np.savez(path, **flame_content(np.random.default_rng(0), size=9, expression=10))
    rng = np.random.default_rng(2)
    source = flame.read([path]).with_landmarks(*landmark_places(rng, (68,), 128))
    rows, weights = landmark_places(rng, (5, 17), 128)
    contour = MovingContour(np.linspace(-30.0, 30.0, 5), rows, weights.astype(np.float32))
    return converted(replace(source, contour=contour))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_converted_model(converted(linear_source()), tmp_path / "small.h5")
    return tmp_path / "small.h5"


def assert_equal_parts(first: object, second: object) -> None:
    for field in fields(first):
        value, other = getattr(first, field.name), getattr(second, field.name)
        if hasattr(value, "__dataclass_fields__"):
            assert_equal_parts(value, other)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other, field.name)
            assert value.dtype == other.dtype, field.name
        elif field.name == "regions":
            assert value.keys() == other.keys()
        else:
            assert value == other, field.name


def test_what_is_written_is_read(tmp_path: Path, skinned: ConvertedModel) -> None:
    bilinear = converted(linear_source(bilinear=True))
    for name, model in (("skinned", skinned), ("bilinear", bilinear)):
        save_converted_model(model, tmp_path / f"{name}.h5")
        assert_equal_parts(model, read_converted_model(tmp_path / f"{name}.h5"))
        save_converted_model(model, tmp_path / "again.h5")
        assert (tmp_path / "again.h5").read_bytes() == (tmp_path / f"{name}.h5").read_bytes()


def test_loading_chooses_by_kind(tmp_path: Path, skinned: ConvertedModel, file: Path) -> None:
    save_converted_model(skinned, tmp_path / "flame.h5")
    flame_model, linear = load_face_model(tmp_path / "flame.h5", level=2), load_face_model(file)
    assert isinstance(flame_model, SkinnedFaceModel) and isinstance(linear, PublishedFaceModel)
    assert flame_model.dimensions == {"identity": 300, "expression": 13, "albedo": 0}
    assert linear.dimensions == {"identity": 6, "expression": 4, "albedo": 0}
    assert linear.sha256 == face_model_sha256(file) != flame_model.sha256
    assert linear.name == "Small face" and linear.level == 1
    assert load_face_model().dimensions == {"identity": 80, "expression": 64, "albedo": 80}


@pytest.mark.parametrize("bilinear", [False, True])
def test_decoding_is_the_source_s(bilinear: bool) -> None:
    source = linear_source(bilinear=bilinear)
    model = PublishedFaceModel(converted(source)).double()
    identity, expression = RNG.normal(size=(3, 6)), RNG.normal(size=(3, 4))
    found = model.decode(torch.tensor(identity), torch.tensor(expression))
    for k in range(3):
        np.testing.assert_allclose(found[k], source.decode(identity[k], expression[k]), atol=1e-9)
    mean, slopes = model.linearise_landmarks()
    np.testing.assert_allclose(mean, source.landmarks(source.mean), atol=1e-5)
    step = 1e-3 * np.eye(10)[7]
    moved = source.landmarks(source.decode(step[:6], step[6:]))
    np.testing.assert_allclose(slopes[..., 7], (moved - mean) / 1e-3, atol=1e-6 if bilinear else 1e-2)


def test_a_model_without_expressions_decodes(tmp_path: Path) -> None:
    save_converted_model(converted(linear_source(expressions=0)), tmp_path / "no_expressions.h5")
    model = load_face_model(tmp_path / "no_expressions.h5")
    assert model.dimensions["expression"] == 0
    vertices = model.decode(torch.zeros(2, 6), torch.zeros(2, 0))
    assert torch.equal(vertices[1], model.mean)
    assert model.linearise_landmarks()[1].shape == (68, 3, 6)


def test_description_and_provenance(file: Path) -> None:
    text = describe(file)
    for part in (
        "Small face",
        "kind face_model",
        "licence: for tests",
        "small.mat",
        "identity: 6 coef",
        "mirror: none",
        "expression coefficients: in feet",
    ):
        assert part in text
    assert read_provenance(file)["inputs"] == {"small.mat": "0" * 64}


def test_mean_face_is_written_in_the_publisher_s_frame(file: Path, tmp_path: Path) -> None:
    from facerecon.geometry.ply_files import read_ply

    write_mean_face(file, tmp_path / "mean.ply")
    expected = small_face()[0] + [5.0, 0.0, -20.0]
    np.testing.assert_allclose(read_ply(tmp_path / "mean.ply").vertices, expected, atol=1e-4)
    with pytest.raises(InputError, match=r"mean\.obj: name a \.ply"):
        write_mean_face(file, tmp_path / "mean.obj")


def _shorten(name: str) -> Callable[[h5py.File], None]:
    def change(stored: h5py.File) -> None:
        array = stored[name][()][:-1]
        del stored[name]
        stored[name] = array

    return change


def _beyond(stored: h5py.File) -> None:
    stored["triangles"][0, 0] = 10_000


def _delete(stored: h5py.File) -> None:
    del stored["uv"]


def _version(stored: h5py.File) -> None:
    stored.attrs["schema_version"] = 9


def _changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[h5py.File], None]:
    def apply(stored: h5py.File) -> None:
        array = change(stored[name][()])
        del stored[name]
        stored[name] = array

    return apply


def _with(index: tuple[int, ...], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


def _as(dtype: type) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array.astype(dtype)


def _no_json(stored: h5py.File) -> None:
    stored.attrs["sources"] = "{"


@pytest.mark.parametrize(
    "change, said",
    [
        (_shorten("mean"), "do not belong together"),
        (_shorten("regions/nose"), "do not belong together"),
        (_shorten("identity_mirror"), "do not belong together"),
        (_beyond, "do not belong together"),
        (_delete, "damaged or incomplete"),
        (_version, "schema version 9"),
        (_no_json, "damaged or incomplete"),
        (_changed("mean", _with((3, 1), np.nan)), "do not belong together"),
        (_changed("identity", _with((0, 0, 0), np.inf)), "do not belong together"),
        (_changed("uv", _as(np.int32)), "do not belong together"),
        (_changed("triangles", _as(np.float32)), "do not belong together"),
        (_changed("landmark_barycentric", _with((0, 0), np.nan)), "do not belong together"),
        (_changed("seam_copies", lambda array: np.array([500])), "do not belong together"),
        (_changed("seam_copies", lambda array: np.array([[1]])), "do not belong together"),
        (_changed("regions/nose", _as(np.int8)), "do not belong together"),
        (_changed("mean", lambda array: np.float32(1)), "damaged or incomplete"),
        (_changed("triangles", lambda array: array[:0]), "do not belong together"),
        (_changed("mirror", lambda array: -1 - array), "do not belong together"),
    ],
)
def test_bad_files_end_in_one_line(file: Path, change: Callable[[h5py.File], None], said: str) -> None:
    with h5py.File(file, "r+") as stored:
        change(stored)
    with pytest.raises(InputError, match=said) as caught:
        load_face_model(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, said",
    [
        (_changed("skinning/joint_names", lambda names: np.where(names == b"jaw", b"chin", names)), "do not belong"),
        (_changed("skinning/joint_names", lambda names: names[:4]), "do not belong"),
        (_changed("skinning/pose_correctives", lambda array: array[:, :-1]), "do not belong"),
        (_changed("skinning/pose_correctives", lambda array: array[:27]), "do not belong"),
        (_changed("skinning/parents", lambda array: np.array([-1, 2, 0, 1, 1])), "do not belong"),
        (_changed("skinning/parents", lambda array: np.array([-1, -1, 1, 1, 1])), "do not belong"),
        (_changed("skinning/parents", _as(np.float32)), "do not belong"),
        (_changed("skinning/weights", _with((0, 0), np.nan)), "do not belong"),
        (_changed("contour/triangles", lambda array: np.zeros((2, 3), np.float32)), "do not belong"),
        (_changed("contour/triangles", _with((0, 0), 128)), "do not belong"),
        (_changed("contour/yaw_degrees", lambda array: array[::-1]), "do not belong"),
        (_changed("contour/barycentric", lambda array: array[:, :3]), "do not belong"),
        (lambda stored: stored.__delitem__("contour/triangles"), "damaged or incomplete"),
        (lambda stored: stored.__setitem__("skinning/more", np.zeros(3)), "damaged or incomplete"),
    ],
)
def test_bad_joints_and_contours_end_in_one_line(
    skinned: ConvertedModel, tmp_path: Path, change: Callable[[h5py.File], None], said: str
) -> None:
    path = tmp_path / "flame.h5"
    save_converted_model(skinned, path)
    with h5py.File(path, "r+") as stored:
        change(stored)
    with pytest.raises(InputError, match=said) as caught:
        load_face_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_ends_in_one_line_and_leaves_nothing(file: Path) -> None:
    """The kernel refuses to let files grow over a limit, as it does on a full disk."""
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    model = converted(linear_source(expressions=60))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"small\.h5: cannot be written \(File too large\)"):
            save_converted_model(model, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_a_truncated_file_ends_in_one_line(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"small\.h5: .*damaged"):
        load_face_model(file)
