from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_faces import ToyModel, remeshed, toy_model

from facerecon.errors import InputError
from facerecon.geometry.mesh_files import read_mesh, write_obj, write_ply
from facerecon.morphable.topology import NOW_LANDMARKS
from facerecon.preprocess.scan_registration import register_file

SHIFT = np.array([10.0, -20, 500])


@pytest.fixture(scope="module")
def toy() -> ToyModel:
    return toy_model()


@pytest.fixture
def files(toy: ToyModel, tmp_path: Path) -> tuple[Path, Path]:
    """A scan in metres and its seven landmarks."""
    vertices = (toy.shape(np.array([1.0, -1, 0.5]), np.array([0.5, 0])) + SHIFT) / 1000
    write_obj(tmp_path / "scan.obj", *remeshed(vertices, toy.triangles.numpy()))
    np.savetxt(tmp_path / "scan.txt", vertices[toy.landmark_vertices.numpy()][list(NOW_LANDMARKS)])
    return tmp_path / "scan.obj", tmp_path / "scan.txt"


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_files_of_a_registration(toy: ToyModel, files: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "deeper" / f"registered{suffix}"
    found = register_file(*files, toy, out, unit="m")
    registered = found.registered
    mean = np.nanmean(found.scan_distances)
    assert f"mean {mean:.2f}" in found.summary() and "% of the face" in found.summary()
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(
        [f"registered{suffix}", "registered.npz", "registered.png"]
    )
    mesh = read_mesh(out)
    np.testing.assert_allclose(mesh.vertices, registered.vertices, atol=1e-3)
    np.testing.assert_array_equal(mesh.triangles, toy.triangles.numpy())
    with np.load(out.with_suffix(".npz")) as arrays:
        np.testing.assert_allclose(arrays["identity"], [1, -1, 0.5], atol=0.2)
        np.testing.assert_allclose(arrays["expression"], [0.5, 0], atol=0.2)
        np.testing.assert_allclose(arrays["placement_translation"], SHIFT, atol=0.5)
        placed = arrays["head_vertices"] @ arrays["placement_rotation"].T + arrays["placement_translation"]
        np.testing.assert_allclose(placed, arrays["vertices"], atol=1e-6)
        assert len(arrays["scan_distances"]) == len(read_mesh(files[0]).vertices)
        assert np.nanmean(arrays["scan_distances"]) < 0.1
        assert arrays["valid"].mean() > 0.85 and len(arrays["distances"]) == len(mesh.vertices)


def test_only_an_earlier_registration_is_replaced(toy: ToyModel, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "registered.obj"
    register_file(*files, toy, out, unit="m")
    register_file(*files, toy, out, unit="m")
    for target in (tmp_path / "registered.ply", files[0]):
        target.touch()
        before = target.read_bytes()
        with pytest.raises(InputError, match="exists and is no registration by facerecon"):
            register_file(*files, toy, target, unit="m")
        assert target.read_bytes() == before
    with pytest.raises(InputError, match="would replace .*, which is read"):
        register_file(out, files[1], toy, out, unit="m")


def test_picture_shows_scan_registration_and_distances(toy: ToyModel, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Three faces of one shape; clay is grey, the heat map of an exact registration blue."""
    register_file(*files, toy, tmp_path / "registered.ply", unit="m")
    picture = cv2.imread(str(tmp_path / "registered.png")).astype(int)
    panels = [picture[:600, k * 480 : (k + 1) * 480] for k in range(3)]
    covered = [(panel != 58).any(2) for panel in panels]
    assert all(0.3 < mask.mean() < 0.9 for mask in covered)
    assert (covered[0] & covered[1]).sum() > 0.95 * (covered[0] | covered[1]).sum()
    blue, _, red = panels[2][250:350, 200:280].reshape(-1, 3).mean(0)
    assert blue > red + 60
    assert abs(np.diff(panels[1][covered[1]][:, [0, 2]], axis=1)).max() < 12


def test_bad_input_is_refused_in_one_line(toy: ToyModel, files: tuple[Path, Path], tmp_path: Path) -> None:
    scan, landmarks = files
    out = tmp_path / "out" / "registered.obj"
    mesh = read_mesh(scan)
    broken = mesh.vertices.copy()
    broken[3] = np.nan
    write_ply(tmp_path / "nan.ply", broken, mesh.triangles)
    (tmp_path / "empty.obj").write_text("")
    for arguments, message in (
        ((scan, landmarks, toy, out, "mm"), "looks like m: give that unit"),
        ((scan, landmarks, toy, out, "foot"), "unit 'foot' is not known: choose one of mm, cm, m"),
        ((scan, landmarks, toy, tmp_path / "out" / "registered.stl", "m"), "name a .obj or .ply file"),
        ((tmp_path / "nan.ply", landmarks, toy, out, "m"), "1 of the scan's .* are NaN or infinite"),
        ((tmp_path / "empty.obj", landmarks, toy, out, "m"), "empty"),
        ((tmp_path / "none.obj", landmarks, toy, out, "m"), "no such file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            register_file(*arguments)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
