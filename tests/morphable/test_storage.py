import hashlib
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.morphable.hdf5 import dequantise, quantise
from facerecon.morphable.head_data import load_head_data
from facerecon.morphable.storage import (
    CARRIED_PATH,
    LEVELS,
    describe,
    face_model_sha256,
    load_face_model,
    read_face_model,
    save_face_model,
)


def test_quantising_rounds_to_the_nearest_step() -> None:
    values = np.array([[0.0, 1.0, -2.0], [0.0, 0.0, 0.0]])
    steps, scale = quantise(values)
    assert steps.dtype == np.int16 and steps[0].tolist() == [0, 16384, -32767]
    assert np.abs(dequantise(steps, scale) - values).max() <= scale[0] / 2


def test_quantising_keeps_multiples_of_a_step() -> None:
    values = np.array([[0.05, -0.15, 12.0], [0.012, 1.0, 0.0]])
    steps, scale = quantise(values, step=0.05)
    assert scale[0] == np.float32(0.05) and steps[0].tolist() == [1, -3, 240]
    assert scale[1] == pytest.approx(1 / 32767)


def test_saving_again_gives_equal_bytes(tmp_path: Path) -> None:
    stored = read_face_model(CARRIED_PATH)
    save_face_model(stored, tmp_path / "again.h5")
    again = read_face_model(tmp_path / "again.h5")
    for field in fields(stored):
        value = getattr(stored, field.name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, field.name), value)
    for name, basis in stored.bases.items():
        np.testing.assert_allclose(again.bases[name], basis, atol=1e-5)
    save_face_model(stored, tmp_path / "third.h5")
    assert (tmp_path / "third.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_sha256_is_that_of_the_file() -> None:
    digest = hashlib.sha256(CARRIED_PATH.read_bytes()).hexdigest()
    assert face_model_sha256() == digest == load_face_model().sha256
    assert digest in describe(CARRIED_PATH)


def test_description_names_sizes() -> None:
    text = describe(CARRIED_PATH)
    assert "level 1: 8666 vertices, 16960 triangles" in text and "identity: 80 coefficients" in text


@pytest.mark.parametrize("load", [load_face_model, load_head_data, describe])
def test_missing_file_is_named(tmp_path: Path, load) -> None:
    with pytest.raises(InputError, match=r"nowhere\.h5.*no such"):
        load(tmp_path / "nowhere.h5")


@pytest.mark.parametrize("load", [load_face_model, load_head_data])
@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", CARRIED_PATH.read_bytes()[:100_000]])
def test_half_written_and_foreign_files_are_refused(tmp_path: Path, load, content: bytes) -> None:
    path = tmp_path / "broken.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.h5.*(damaged|kind)"):
        load(path)


def test_flipped_byte_in_a_basis_is_found(tmp_path: Path) -> None:
    path = tmp_path / "flipped.h5"
    with h5py.File(CARRIED_PATH) as file:
        dataset = file["bases/identity/steps"]
        offset = dataset.id.get_chunk_info(0).byte_offset
    content = bytearray(CARRIED_PATH.read_bytes())
    content[offset + 1000] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"flipped\.h5.*damaged"):
        load_face_model(path)


def test_missing_dataset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "incomplete.h5"
    path.write_bytes(CARRIED_PATH.read_bytes())
    with h5py.File(path, "a") as file:
        del file["level1/uv"]
    with pytest.raises(InputError, match=r"incomplete\.h5.*incomplete"):
        load_face_model(path)


def test_other_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.h5"
    path.write_bytes(CARRIED_PATH.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(InputError, match="version 99"):
        load_face_model(path)


@pytest.mark.parametrize("level", LEVELS)
def test_mean_and_regions_mirror_exactly(level: int) -> None:
    model = load_face_model(level=level)
    mirror = model.topology.mirror
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_array_equal(model.mean[mirror] * model.mean.new_tensor([-1, 1, 1]), model.mean)
    for name, mask in model.topology.regions.items():
        np.testing.assert_array_equal(mask[mirror], mask, err_msg=name)
    np.testing.assert_array_equal(np.sum(list(model.topology.regions.values()), axis=0), 1)


def test_coarser_vertices_lead_finer_ones() -> None:
    coarse, fine = load_face_model(level=0), load_face_model(level=1)
    count = len(coarse.mean)
    np.testing.assert_array_equal(fine.albedo_basis[:, :count], coarse.albedo_basis)
    assert (fine.mean[:count] - coarse.mean).abs().max() < 3  # mm: subdivision smooths


def test_unknown_level_is_refused() -> None:
    with pytest.raises(InputError, match="level"):
        load_face_model(level=3)
