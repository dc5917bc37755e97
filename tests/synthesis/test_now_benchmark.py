"""The frozen benchmark: its hash, its layout, and that its scans are no copies of the face model."""

import re
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_folder import CHALLENGES
from facerecon.geometry.alignment import similarity_procrustes
from facerecon.morphable.storage import load_face_model
from facerecon.synthesis import now_benchmark
from facerecon.synthesis.head_surface import load_head_surface
from facerecon.synthesis.kernels import fused_vertex_normals
from facerecon.synthesis.now_benchmark import (
    CONTENT_HASH,
    IMAGES,
    build_now_benchmark,
    scan_region,
    write_now_benchmark,
)
from facerecon.synthesis.person import sample_person
from facerecon.synthesis.randomness import BENCHMARK_DOMAIN, stream


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


def _beyond_the_basis(path: Path) -> float:
    """RMS along the normals, mm, of what lies between the first scan and that person's own head and no coefficients of
    the identity basis, nor a similarity, can follow."""
    surface, model = load_head_surface(), load_face_model()
    person = sample_person(stream(3, BENCHMARK_DOMAIN, 0), surface)
    head = np.asarray(surface.operator @ person.neutral)
    region, _ = scan_region(surface)
    operator = surface.operator[region][:, surface.generator.face_vertices]
    inside = np.flatnonzero(np.asarray(operator.sum(1)).ravel() > 0.9999)[::10]  # moved by vertices of the face alone
    normals = fused_vertex_normals(head, surface.triangles)[region][inside]
    head, operator = head[region][inside], operator[inside]
    with h5py.File(path) as file:
        scan = file["scan_vertices"][0][inside] * file.attrs["scan_unit_mm"]
    offsets = similarity_procrustes(scan, head).apply(scan) - head
    basis = np.stack([operator @ part for part in model.coarse_identity], -1)
    turns = np.stack([*(np.cross(axis, head) for axis in np.eye(3)), head], -1)
    moves = np.concatenate([basis, turns, np.broadcast_to(np.eye(3), (len(head), 3, 3))], -1)
    solution = np.linalg.lstsq(moves.reshape(-1, moves.shape[-1]), offsets.ravel(), rcond=None)[0]
    return float(np.sqrt((((offsets - moves @ solution) * normals).sum(1) ** 2).mean()))


def test_the_displacement_moves_scans_off_what_the_basis_can_fit(built, monkeypatch, tmp_path):
    """Relief of 0.12 mm and noise of 0.05 mm are in both builds; only the first has the displacement."""
    monkeypatch.setattr(now_benchmark, "DISPLACEMENT", 0.0)
    plain = tmp_path / "plain.h5"
    build_now_benchmark(plain, subjects=1, size=96, seed=3)
    displaced, without = _beyond_the_basis(built[0]), _beyond_the_basis(plain)
    assert without == pytest.approx(0.13, abs=0.02)
    assert displaced > 1.25 * without


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
