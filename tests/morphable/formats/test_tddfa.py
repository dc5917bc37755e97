import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from publisher_files import outward_volume, small_face

from facerecon.errors import InputError
from facerecon.morphable.formats.tddfa import read

FILES = ("bfm_noneck_v3.pkl", "tri.pkl", "param_mean_std_62d_120x120.pkl")


def write_files(folder: Path) -> dict[str, np.ndarray]:
    """The three files of 3DDFA_V2's configs, small."""
    rng = np.random.default_rng(0)
    vertices, triangles = small_face(11)
    keypoints = rng.permutation(len(vertices))[:68]
    held = {
        "u": (vertices * 1000 + [5, 6e4, 1e3]).reshape(-1, 1).astype(np.float32),
        "w_shp": rng.normal(0, 5e-3, (vertices.size, 199)).astype(np.float32),
        "w_exp": rng.normal(0, 900, (vertices.size, 29)).astype(np.float32),
        "keypoints": (3 * keypoints[:, None] + np.arange(3)).ravel(),
        "mean": rng.normal(0, 1, 62).astype(np.float32),
        "std": rng.uniform(0.5, 2, 62).astype(np.float32),
        "tri": triangles[:, [2, 1, 0]].T.astype(np.int32),
    }
    held["std"][12:52] *= 1e5
    held["mean"][12:52] *= 1e5
    model = {name: held[name] for name in ("u", "w_shp", "w_exp", "keypoints")}
    (folder / FILES[0]).write_bytes(pickle.dumps(model, 4))
    (folder / FILES[1]).write_bytes(pickle.dumps(held["tri"], 3))
    (folder / FILES[2]).write_bytes(pickle.dumps({name: held[name] for name in ("mean", "std")}, 2))
    return held


def test_vertices_are_the_published_sum(tmp_path: Path) -> None:
    held = write_files(tmp_path)
    model = read([tmp_path / name for name in FILES])
    assert len(model.identity) == 40 and len(model.expression) == 10 and model.albedo is None
    rng = np.random.default_rng(1)
    identity, expression = rng.normal(size=40), rng.normal(size=10)
    average, deviation = held["mean"].astype(float), held["std"].astype(float)
    # Identity as the training faces are spread, about their mean; expression about the neutral face.
    alpha, beta = average[12:52] + deviation[12:52] * identity, expression * np.hypot(average, deviation)[52:]
    basis = held["w_shp"][:, :40].astype(float)
    face = held["u"][:, 0] + basis @ alpha + held["w_exp"][:, :10].astype(float) @ beta
    mean = held["u"][:, 0] + basis @ average[12:52]
    landmarks = mean[held["keypoints"]].reshape(68, 3)
    assert "not the mean face u" in model.notes[0] and "root mean square" in model.notes[1]
    expected = (face.reshape(-1, 3) - landmarks.mean(0)) / 1000
    np.testing.assert_allclose(model.decode(identity, expression), expected, atol=1e-4)
    np.testing.assert_allclose(
        model.landmarks(expected), face[held["keypoints"]].reshape(68, 3) / 1000 - landmarks.mean(0) / 1000, atol=1e-6
    )
    assert outward_volume(model.mean, model.triangles) > 0


def test_chart_of_the_uncut_mesh(tmp_path: Path) -> None:
    """BFM_UV.mat is of more vertices; indices.npy says which the face keeps."""
    write_files(tmp_path)
    rng = np.random.default_rng(2)
    uv, kept = rng.random((150, 2)), np.sort(rng.choice(150, 121, replace=False))
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv})
    np.save(tmp_path / "indices.npy", kept)
    files = [tmp_path / name for name in ("indices.npy", *FILES, "BFM_UV.mat")]
    model = read(files)
    np.testing.assert_allclose(model.uv, uv[kept], atol=1e-6)
    assert not len(model.seam_copies) and read(files[1:4]).uv is None
    with pytest.raises(InputError, match=r"needs also indices\.npy"):
        read(files[1:])
    for wrong, match in ((kept[1:], "has shape"), (kept + 100, "an index outside 0 to 149")):
        np.save(tmp_path / "indices.npy", wrong)
        with pytest.raises(InputError, match=rf"indices\.npy: .*{match}"):
            read(files)
    np.save(tmp_path / "indices.npy", kept)
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv * 2})
    with pytest.raises(InputError, match=r"BFM_UV\.mat: texture coordinates outside"):
        read(files)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    held = write_files(tmp_path)
    files = [tmp_path / name for name in FILES]
    with pytest.raises(InputError, match=r"needs also param_mean_std_62d_120x120\.pkl"):
        read(files[:2])
    model = {name: held[name] for name in ("u", "w_shp", "w_exp", "keypoints")}
    for change, match in (
        ({"w_shp": held["w_shp"][:, :30]}, "30 \\+ 10 components"),
        ({"w_exp": held["w_exp"][:-1]}, "w_exp has shape"),
        ({"keypoints": held["keypoints"] + 300}, "keypoints has an index"),
        ({"u": held["u"][:-1]}, "in one row"),
        ({"u": "text"}, "no numbers"),
    ):
        files[0].write_bytes(pickle.dumps(model | change))
        with pytest.raises(InputError, match=match):
            read(files)
    files[0].write_bytes(pickle.dumps(model)[:-100])
    with pytest.raises(InputError, match=r"bfm_noneck_v3\.pkl: .*damaged"):
        read(files)
