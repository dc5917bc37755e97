"""HDF5 tables: round trip, equal bytes, damage, wrong kinds."""

import errno
import fcntl
import subprocess
import sys

import h5py
import numpy as np
import pytest

from facerecon.data.tables import (
    Rejection,
    Table,
    damage_named,
    encode_strings,
    open_table,
    read_table,
    write_table,
)
from facerecon.errors import InputError


def example(count: int = 5) -> Table:
    rng = np.random.default_rng(0)
    return Table(
        kind="example",
        ids=[f"image_{k}" for k in range(count)],
        columns={
            "points": rng.normal(size=(count, 68, 2)).astype(np.float32),
            "split": encode_strings(["train"] * count),
        },
        blobs={"image": [bytes([k]) * (10 + k) for k in range(count)]},
        rejected=[Rejection("dark", "landmarks", "no face was found"), Rejection("ölig", "fit", "Zeichen")],
        attributes={"provenance": "{}", "focal": 1015.0},
    )


@pytest.mark.parametrize("count", [5, 1, 0])
def test_round_trip(tmp_path, count):
    written = example(count)
    write_table(tmp_path / "t.h5", written)
    read = read_table(tmp_path / "t.h5", "example")
    assert read.ids == written.ids and read.blobs == written.blobs and read.rejected == written.rejected
    assert np.array_equal(read.columns["points"], written.columns["points"])
    assert read.strings("split") == ["train"] * count
    assert read.attributes["focal"] == 1015.0 and read.attributes["schema_version"] == 1


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_table(tmp_path / name, example())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_rows_are_found_by_id(tmp_path):
    table = example()
    assert table.rows(["image_3", "image_0"]).tolist() == [3, 0]
    with pytest.raises(KeyError, match="image_9"):
        table.rows(["image_9"])


def test_bad_tables_are_not_written(tmp_path):
    table = example()
    table.columns["points"] = table.columns["points"][:3]
    with pytest.raises(ValueError, match="points has 3 rows"):
        write_table(tmp_path / "t.h5", table)
    twice = example()
    twice.ids[1] = twice.ids[0]
    with pytest.raises(ValueError, match="unique"):
        write_table(tmp_path / "t.h5", twice)
    assert list(tmp_path.iterdir()) == []


def test_fixed_size_arrays_are_checksummed(tmp_path):
    write_table(tmp_path / "t.h5", example())
    with h5py.File(tmp_path / "t.h5") as file:
        names = ("id", "points", "image/offsets", "image/crc32", "rejected/reason")
        assert all(file[name].fletcher32 for name in names)


@pytest.mark.parametrize("dataset", ["points", "image/data"])
def test_a_flipped_bit_is_noticed(tmp_path, dataset):
    path = tmp_path / "t.h5"
    write_table(path, example())
    with h5py.File(path) as file:
        values = file[dataset]
        at = values.id.get_offset() if values.chunks is None else values.id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at + 3] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="t.h5.* damaged"):
        read_table(path, "example")


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "t.h5"
    with pytest.raises(InputError, match="t.h5: no such file"):
        open_table(path, "example")
    write_table(path, example())
    with pytest.raises(InputError, match="holds example, not fit"):
        open_table(path, "fit")
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], b"", b"no table\n"):
        path.write_bytes(part)
        with pytest.raises(InputError, match="t.h5: not a readable HDF5 file"):
            open_table(path, "example")


TOO_MANY_FILES = """
import os, resource, sys
from facerecon.data.tables import open_table
open_table(sys.argv[1], "example").close()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
try:
    open_table(sys.argv[1], "example")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_too_many_open_files_are_no_damage(tmp_path):
    write_table(tmp_path / "t.h5", example())
    command = [sys.executable, "-c", TOO_MANY_FILES, str(tmp_path / "t.h5")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == f"InputError {tmp_path}/t.h5: cannot be read (Too many open files); allow more with `ulimit -n`\n"


def test_a_locked_file_is_no_damage(tmp_path):
    write_table(tmp_path / "t.h5", example())
    with open(tmp_path / "t.h5", "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="cannot be read .Resource temporarily unavailable.; wait for what is wri"):
            open_table(tmp_path / "t.h5", "example")
    open_table(tmp_path / "t.h5", "example").close()


def test_a_forbidden_file_is_no_damage(tmp_path, monkeypatch):
    write_table(tmp_path / "t.h5", example())

    def forbidden(path, mode):  # a test may run as root, whom nothing is forbidden
        raise PermissionError(errno.EACCES, "Unable to synchronously open file (unable to open file: ...)")

    monkeypatch.setattr(h5py, "File", forbidden)
    with pytest.raises(InputError, match="t.h5: cannot be read .Permission denied.; change its permissions$"):
        open_table(tmp_path / "t.h5", "example")


def test_a_failing_disk_is_no_damage(tmp_path):
    with pytest.raises(InputError, match="t.h5: cannot be read .Input/output error.$"), damage_named("t.h5"):
        raise OSError(errno.EIO, "Can't synchronously read data (file read failed: ...)")


def test_another_schema_is_refused(tmp_path):
    write_table(tmp_path / "t.h5", example())
    with h5py.File(tmp_path / "t.h5", "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(InputError, match="schema version 99"):
        open_table(tmp_path / "t.h5", "example")


def test_a_missing_part_is_damage(tmp_path):
    write_table(tmp_path / "t.h5", example())
    with h5py.File(tmp_path / "t.h5", "a") as file:
        del file["image/offsets"]
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_table(tmp_path / "t.h5", "example")
