"""The frozen benchmark: its hash, its layout, and that its scans are no copies of the face model."""

import re
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.synthesis import now_benchmark
from facerecon.synthesis.now_benchmark import CHALLENGES, CONTENT_HASH, IMAGES, build_now_benchmark, write_now_benchmark


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "small.h5"
    return path, build_now_benchmark(path, subjects=2, size=96, seed=3)


def _vertices(path: Path) -> np.ndarray:
    return np.array(re.findall(r"^v (\S+) (\S+) (\S+)$", path.read_text(), re.MULTILINE), float)


def test_the_carried_benchmark_is_the_frozen_one(tmp_path):
    assert write_now_benchmark(tmp_path / "now") == CONTENT_HASH
    names = (tmp_path / "now" / "imagepathsvalidation.txt").read_text().split()
    assert len(names) == 80 and len({name.split("/")[0] for name in names}) == 20
    assert {name.split("/")[1] for name in names} == set(CHALLENGES)
    for name in names:
        assert cv2.imread(str(tmp_path / "now" / IMAGES / name)).shape == (320, 320, 3)


def test_building_again_gives_the_same_hash(built, tmp_path):
    assert build_now_benchmark(tmp_path / "again.h5", subjects=2, size=96, seed=3) == built[1]
    assert build_now_benchmark(tmp_path / "other.h5", subjects=2, size=96, seed=4) != built[1]


def test_folder_has_scans_in_millimetres_with_their_landmarks(built, tmp_path):
    write_now_benchmark(tmp_path / "now", source=built[0])
    scan = _vertices(tmp_path / "now/scans/SYN_000/SYN_000.obj")
    assert 5000 < len(scan) < 60000
    assert np.ptp(scan, axis=0) == pytest.approx([150, 200, 110], rel=0.4)
    text = (tmp_path / "now/scans_lmks_onlypp/SYN_000/SYN_000.pp").read_text()
    points = np.array(re.findall(r'x="(\S+)" y="(\S+)" z="(\S+)"', text), float)
    assert points.shape == (7, 3)
    nearest = np.sqrt(((scan[None] - points[:, None]) ** 2).sum(2)).min(1)
    assert nearest.max() < 6.0  # the mouth's corners lie in a fold that the scan does not reach
    assert points[0, 0] < points[3, 0]  # the subject's right outer eye corner comes first and lies at smaller x


def test_scans_lie_outside_the_models_span(built):
    """Vertices slide along the surface and carry relief: the same vertex differs between equal people by noise."""
    with h5py.File(built[0]) as file:
        scans = file["scan_vertices"][()] * file.attrs["scan_unit_mm"]
    assert np.abs(scans[0] - scans[1]).max() > 1.0


def test_a_part_has_a_hash_of_its_own(built, tmp_path):
    part = write_now_benchmark(tmp_path / "part", source=built[0], subjects=1)
    assert part != built[1]
    names = (tmp_path / "part/imagepathsvalidation.txt").read_text().split()
    assert {name.split("/")[0] for name in names} == {"SYN_000"}


def test_a_changed_file_is_not_taken_for_the_frozen_one(built, monkeypatch, tmp_path):
    monkeypatch.setattr(now_benchmark, "carried_benchmark", lambda: built[0])
    with pytest.raises(InputError, match="hash"):
        write_now_benchmark(tmp_path / "now")
    assert not (tmp_path / "now").exists()


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "broken.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.h5"):
        write_now_benchmark(tmp_path / "now", source=path)
