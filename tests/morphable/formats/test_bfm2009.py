from pathlib import Path

import numpy as np
import pytest
import scipy.io
from publisher_files import outward_volume, small_face

from facerecon.errors import InputError
from facerecon.morphable.formats.bfm2009 import read
from facerecon.morphable.source_model import SourceModel

WHOLE_IDENTITY, WHOLE_EXPRESSION = 199, 79


def write_files(folder: Path) -> dict[str, np.ndarray]:
    """The six files of Deng et al.'s front face, small; returns what they hold, indices from 0."""
    rng = np.random.default_rng(0)
    vertices, triangles = small_face(11)
    front_count = len(vertices)
    trim_count, whole_count = front_count + 12, front_count + 30
    trim = np.sort(rng.choice(whole_count, trim_count, replace=False))
    front = np.sort(rng.choice(trim_count, front_count, replace=False))
    mean = rng.normal(0, 50_000, (whole_count, 3))
    mean[trim[front]] = vertices * 1000 + [20, -30, 45_000]
    held = {
        "shapeMU": mean.reshape(-1, 1).astype(np.float32),
        "shapePC": rng.normal(0, 1e-2, (3 * whole_count, WHOLE_IDENTITY)).astype(np.float32),
        "shapeEV": rng.uniform(1e3, 9e5, (WHOLE_IDENTITY, 1)).astype(np.float32),
        "texMU": rng.uniform(60, 200, (3 * whole_count, 1)).astype(np.float32),
        "texPC": rng.normal(0, 1e-2, (3 * whole_count, WHOLE_IDENTITY)).astype(np.float32),
        "texEV": rng.uniform(10, 3000, (WHOLE_IDENTITY, 1)).astype(np.float32),
        "expPC": rng.normal(0, 1e-1, (WHOLE_EXPRESSION, 3 * trim_count)).astype(np.float32),
        "expEV": rng.uniform(1e3, 5e4, WHOLE_EXPRESSION),
        "trim": trim,
        "front": front,
        "tri": triangles[:, [0, 2, 1]],  # clockwise, to be turned
        "keypoints": rng.permutation(front_count)[:68],
    }
    whole_triangles = trim[front][triangles]
    names = ("shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV")
    whole = {name: held[name] for name in names} | {"tl": whole_triangles + 1.0, "segbin": np.zeros((whole_count, 4))}
    scipy.io.savemat(folder / "01_MorphableModel.mat", whole)
    with open(folder / "Exp_Pca.bin", "wb") as file:
        file.write(np.int32(WHOLE_EXPRESSION).tobytes())
        file.write(rng.normal(0, 1e3, 3 * trim_count).astype("<f4").tobytes())  # a mean, which Deng et al. leave out
        file.write(held["expPC"].astype("<f4").tobytes())
    (folder / "std_exp.txt").write_text(" ".join(f"{value:.9g}" for value in held["expEV"]) + "\n")
    scipy.io.savemat(folder / "BFM_exp_idx.mat", {"trimIndex": trim[:, None] + 1.0})
    scipy.io.savemat(folder / "BFM_front_idx.mat", {"idx": front[:, None] + 1.0})
    info = {
        "tri": held["tri"] + 1.0,
        "keypoints": held["keypoints"][None] + 1.0,
        "point_buf": np.ones((front_count, 8)),
        "skinmask": np.ones((1, front_count)),
        "frontmask2_idx": np.ones((5, 1)),
        "tri_mask2": np.ones((5, 3)),
    }
    scipy.io.savemat(folder / "facemodel_info.mat", info)
    return held


def front_files(folder: Path) -> list[Path]:
    names = "BFM_exp_idx.mat BFM_front_idx.mat Exp_Pca.bin facemodel_info.mat std_exp.txt 01_MorphableModel.mat"
    return [folder / name for name in names.split()]


def published_front(held: dict, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """Deng et al.'s face in mm: their selection, and the published sum of the scaled components."""
    kept = held["trim"][held["front"]]
    shape = held["shapeMU"][:, 0] + held["shapePC"][:, :80].astype(float) @ (held["shapeEV"][:80, 0] * identity)
    moved = (held["expEV"][:64] * expression) @ held["expPC"][:64].astype(float)
    return (shape.reshape(-1, 3)[kept] + moved.reshape(-1, 3)[held["front"]]) / 1000


def assert_equal_faces(model: SourceModel, formula, landmarks: np.ndarray) -> None:
    """The model's vertices against a formula of identity and expression, for random coefficients."""
    rng = np.random.default_rng(1)
    origin = formula(np.zeros(len(model.identity)), np.zeros(len(model.expression)))[landmarks].mean(0)
    for _ in range(3):
        identity, expression = rng.normal(size=len(model.identity)), rng.normal(size=len(model.expression))
        expected = formula(identity, expression) - origin
        np.testing.assert_allclose(model.decode(identity, expression), expected, atol=1e-4)
        np.testing.assert_allclose(model.landmarks(expected), expected[landmarks], atol=1e-6)
    assert outward_volume(model.mean, model.triangles) > 0


def test_front_face_is_deng_et_al_s(tmp_path: Path) -> None:
    held = write_files(tmp_path)
    model = read(front_files(tmp_path))
    assert model.identity.shape == (80, 121, 3) and model.expression.shape == (64, 121, 3)
    assert_equal_faces(model, lambda a, b: published_front(held, a, b), held["keypoints"])
    np.testing.assert_array_equal(np.sort(model.triangles, 1), np.sort(held["tri"], 1))
    assert np.abs(model.landmarks(model.mean.astype(float)).mean(0)).max() < 1e-4
    assert set(model.sources) == {path.name for path in front_files(tmp_path)}


def test_albedo_is_linear_and_exact_at_the_mean(tmp_path: Path) -> None:
    held = write_files(tmp_path)
    model = read(front_files(tmp_path))
    kept = held["trim"][held["front"]]
    display = held["texMU"].reshape(-1, 3)[kept].astype(float) / 255
    np.testing.assert_allclose(model.albedo_mean, ((display + 0.055) / 1.055) ** 2.4, atol=1e-6)
    assert model.albedo is not None and model.albedo.shape == (80, 121, 3)
    step = held["texPC"].reshape(-1, 3, WHOLE_IDENTITY)[kept, :, 3] * held["texEV"][3] / 255
    small = 1e-4 * step
    exact = ((display + small + 0.055) / 1.055) ** 2.4 - ((display + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(model.albedo[3] * 1e-4, exact, rtol=1e-2, atol=1e-8)


def write_ready(folder: Path, held: dict[str, np.ndarray]) -> Path:
    """BFM_model_front.mat of the arrays of `write_files`."""
    kept = held["trim"][held["front"]]
    select = (3 * kept[:, None] + np.arange(3)).ravel()
    moved = (held["expPC"][:64] * held["expEV"][:64, None]).T.reshape(-1, 3, 64)[held["front"]]
    ready = {
        "meanshape": held["shapeMU"][select].T / 1e5,
        "idBase": held["shapePC"][select, :80] * held["shapeEV"][:80, 0] / 1e5,
        "exBase": moved.reshape(-1, 64) / 1e5,
        "meantex": held["texMU"][select].T,
        "texBase": held["texPC"][select, :80] * held["texEV"][:80, 0],
        "tri": held["tri"] + 1.0,
        "keypoints": held["keypoints"][None] + 1.0,
        "point_buf": np.ones((len(kept), 8)),
    }
    scipy.io.savemat(folder / "BFM_model_front.mat", ready)
    return folder / "BFM_model_front.mat"


def test_ready_file_gives_the_same_model(tmp_path: Path) -> None:
    held = write_files(tmp_path)
    model, parts = read([write_ready(tmp_path, held)]), read(front_files(tmp_path))
    assert_equal_faces(model, lambda a, b: published_front(held, a, b), held["keypoints"])
    np.testing.assert_allclose(model.albedo, parts.albedo, atol=1e-5)
    np.testing.assert_array_equal(model.triangles, parts.triangles)


def test_chart_of_the_face(tmp_path: Path) -> None:
    """BFM_UV.mat is of the trimmed vertices, of which BFM_front_idx.mat says which the face keeps."""
    held = write_files(tmp_path)
    uv = np.random.default_rng(3).random((len(held["trim"]), 2))
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv})
    files = [*front_files(tmp_path), tmp_path / "BFM_UV.mat"]
    model = read(files)
    np.testing.assert_allclose(model.uv, uv[held["front"]], atol=1e-6)
    assert "BFM_UV.mat" in model.sources and read(files[:-1]).uv is None

    ready = write_ready(tmp_path, held)
    model = read([tmp_path / "BFM_UV.mat", ready, tmp_path / "BFM_front_idx.mat"])
    np.testing.assert_allclose(model.uv, uv[held["front"]], atol=1e-6)
    for wrong in ([ready, tmp_path / "BFM_UV.mat"], [tmp_path / "01_MorphableModel.mat", tmp_path / "BFM_UV.mat"]):
        with pytest.raises(InputError, match="alone or with BFM_UV"):
            read(wrong)
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv[:20]})
    with pytest.raises(InputError, match=r"BFM_front_idx\.mat: idx has an index outside 1 to 20"):
        read(files)


def test_whole_head_without_expressions(tmp_path: Path) -> None:
    held = write_files(tmp_path)
    model = read([tmp_path / "01_MorphableModel.mat"])
    assert model.identity.shape[0] == 199 and model.expression.shape == (0, 151, 3)
    assert model.landmark_triangles is None
    identity = np.random.default_rng(2).normal(size=199)
    expected = held["shapeMU"][:, 0] + held["shapePC"].astype(float) @ (held["shapeEV"][:, 0] * identity)
    origin = held["shapeMU"].reshape(-1, 3).mean(0, dtype=float)
    # the bases are single precision in the file and here; components of these sizes add up to metres
    np.testing.assert_allclose(
        model.decode(identity, np.zeros(0)), (expected.reshape(-1, 3) - origin) / 1000, atol=1e-3
    )


def test_wrong_files_are_named(tmp_path: Path) -> None:
    write_files(tmp_path)
    files = front_files(tmp_path)
    with pytest.raises(InputError, match=r"std_exp\.txt.* together"):
        read([path for path in files if path.name != "std_exp.txt"])
    with pytest.raises(InputError, match=r"nowhere\.mat: no such file"):
        read([tmp_path / "nowhere.mat"])
    with pytest.raises(InputError, match=r"a second"):
        read([*files, files[0]])

    def damaged(name: str, content: bytes | str, match: str) -> None:
        path = tmp_path / name
        before = path.read_bytes()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=match) as caught:
            read(files)
        assert "\n" not in str(caught.value)
        path.write_bytes(before)

    damaged("Exp_Pca.bin", (tmp_path / "Exp_Pca.bin").read_bytes()[:-4], r"Exp_Pca\.bin: \d+ bytes")
    damaged("Exp_Pca.bin", b"", r"Exp_Pca\.bin: 0 bytes")
    damaged("std_exp.txt", "1 2 3", r"std_exp\.txt: 3 numbers")
    damaged("std_exp.txt", "one two", r"std_exp\.txt: not a text")
    damaged("BFM_exp_idx.mat", (tmp_path / "BFM_exp_idx.mat").read_bytes()[:200], r"BFM_exp_idx\.mat: not a MATLAB")
    damaged("facemodel_info.mat", b"\0" * 500, r"facemodel_info\.mat: ")

    def changed(name: str, key: str, value: np.ndarray, match: str) -> None:
        path = tmp_path / name
        before = path.read_bytes()
        content = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
        scipy.io.savemat(path, content | {key: value})
        with pytest.raises(InputError, match=match):
            read(files)
        path.write_bytes(before)

    changed("01_MorphableModel.mat", "shapePC", np.zeros((450, 199)), r"shapePC has shape \(450, 199\)")
    changed("01_MorphableModel.mat", "shapeEV", np.full((199, 1), np.nan), "not finite")
    changed("01_MorphableModel.mat", "texMU", np.zeros((30, 1)), "texMU is of 10 vertices")
    changed("BFM_front_idx.mat", "idx", np.array([[1.0], [9999.0]]), "idx has an index outside 1 to")
    changed("facemodel_info.mat", "tri", np.array([[0.0, 1, 2]]), "tri has an index outside 1 to")
    changed("facemodel_info.mat", "keypoints", np.ones((1, 67)), "keypoints has shape")
