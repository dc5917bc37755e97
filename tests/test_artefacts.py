"""Files and folders appear whole or not at all, and nothing that is not ours is replaced."""

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import facerecon
from facerecon.artefacts import (
    atomic_file,
    atomic_folder,
    atomic_hdf5,
    check_file_target,
    check_folder_target,
    check_kept,
    is_own_folder,
    read_bytes,
)
from facerecon.errors import InputError
from facerecon.provenance import provenance_record, write_folder


def fill(folder: Path, text: str = "new", record: bool = True) -> None:
    """What a stage does with its temporary folder."""
    (folder / "result.txt").write_text(text)
    if record:
        write_folder(folder, provenance_record("data.manifest"))


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "out") as folder:
        fill(folder)
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "result.txt").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "deep" / "out").stat().st_mode) != 0o700
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_own_and_empty_folders_are_replaced(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "out") as folder:
            fill(folder, text)
    assert (tmp_path / "out" / "result.txt").read_text() == "two"
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as folder:
        fill(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "out"]


@pytest.mark.parametrize("record", [None, "[1]", '{"stage": "x"}', "{"])
def test_a_folder_of_the_users_is_kept(tmp_path: Path, record: str | None) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "anna.png").write_bytes(b"the only copy")
    if record is not None:
        (tmp_path / "anna" / "provenance.json").write_text(record)
    assert not is_own_folder(tmp_path / "anna")
    with (
        pytest.raises(InputError, match=r"anna: exists and was not written by facerecon; choose another --out"),
        atomic_folder(tmp_path / "anna"),
    ):
        pytest.fail("work was begun")
    assert (tmp_path / "anna" / "anna.png").read_bytes() == b"the only copy"


def test_what_comes_while_we_work_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not written by facerecon"), atomic_folder(tmp_path / "out") as folder:
        fill(folder)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "letter.txt").write_text("dear")
    assert (tmp_path / "out" / "letter.txt").read_text() == "dear"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        fill(folder, "old")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out") as folder:
        fill(folder)
        raise ZeroDivisionError
    rename = os.replace

    def fail_the_second(source: Path, target: Path) -> None:
        if Path(source).suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail_the_second)
    with pytest.raises(InputError, match="cannot be written"), atomic_folder(tmp_path / "out") as folder:
        fill(folder)
    monkeypatch.undo()
    assert (tmp_path / "out" / "result.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "scratch")
    with atomic_folder(tmp_path / "out") as folder:
        fill(folder)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "scratch" / "result.txt").read_text() == "new"


def test_the_working_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    for place in (".", "..", "/"):
        with pytest.raises(InputError, match="cannot be replaced as a whole|not written"):
            check_folder_target(place)


def test_targets_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: is a folder; name a file"):
        check_file_target(tmp_path / "folder")
    with pytest.raises(InputError, match="file: is a file; name a folder"):
        check_folder_target(tmp_path / "file")
    for check in (check_file_target, check_folder_target):
        with pytest.raises(InputError, match=r"new: .*file is not a folder"):
            check(tmp_path / "file" / "sub" / "new")
    with pytest.raises(InputError, match="not a regular file"):
        check_file_target("/dev/null")
    with pytest.raises(InputError, match="File name too long"), atomic_file(tmp_path / ("x" * 300)):
        pytest.fail("work was begun")


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    for check in (check_file_target, check_folder_target):
        with pytest.raises(InputError, match="cannot be written to; name another place"):
            check(tmp_path / "sub" / "new")


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.csv"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".csv" and not path.exists()
    assert path.read_text() == "new"
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "new" and len(list(path.parent.iterdir())) == 1


def test_other_errors_of_the_work_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.csv"):
        (tmp_path / "none").read_text()


def test_hdf5_appears_when_it_is_complete(tmp_path: Path) -> None:
    """The bytes are those that HDF5 writes itself: files made before keep their hashes."""

    def fill(file: h5py.File) -> None:
        file.attrs["kind"] = "test"
        options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        for k in range(8):
            file.create_dataset(f"group{k % 3}/values{k}", data=np.arange(5000.0) + k, **options)
        file["plain"] = np.arange(7)

    path = tmp_path / "deep" / "a.h5"
    with atomic_hdf5(path) as file:
        fill(file)
        assert not path.exists()
    with h5py.File(tmp_path / "direct.h5", "w") as file:
        fill(file)
    assert path.read_bytes() == (tmp_path / "direct.h5").read_bytes()
    with pytest.raises(ZeroDivisionError), atomic_hdf5(path) as file:
        file["half"] = 1
        raise ZeroDivisionError
    assert path.read_bytes() == (tmp_path / "direct.h5").read_bytes() and list(path.parent.iterdir()) == [path]


def test_all_hdf5_files_are_written_that_way() -> None:
    source = Path(facerecon.__file__).parent
    direct = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"h5py\.File\([^)]*[\"'][wxa][\"']", path.read_text(encoding="utf-8"))
    }
    assert direct == {"artefacts.py"}


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    source = tmp_path / "scan.ply"
    source.write_text("scan")
    (tmp_path / "link.ply").symlink_to(source)
    (tmp_path / "hard.ply").hardlink_to(source)
    (tmp_path / "other.ply").write_text("scan")
    for name in ("scan.ply", "link.ply", "hard.ply", "../" + tmp_path.name + "/scan.ply"):
        with pytest.raises(InputError, match=r"would replace .*scan\.ply, which is read"):
            check_kept([tmp_path / "new.ply", tmp_path / name], [tmp_path / "none.pp", source])
    check_kept([tmp_path / "new.ply", tmp_path / "other.ply"], [source, tmp_path / "none.pp"])


FULL = """
import resource, signal, sys
from pathlib import Path
import h5py, numpy as np
from facerecon.artefacts import atomic_file, atomic_folder, atomic_hdf5
from facerecon.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
values, out = np.arange(100_000.0), Path(sys.argv[1])
def write_numpy():
    with atomic_file(out / "a.npy") as path:
        np.save(path, values)
def write_hdf5():
    with atomic_hdf5(out / "a.h5") as file:
        for k in range(40):  # HDF5 that writes to disk itself only fails when it closes, and takes the process down
            file.create_dataset(f"values{k}", data=values, compression="gzip", fletcher32=True)
def write_nested():
    with atomic_folder(out / "folder") as folder, atomic_file(folder / "a.npy") as path:
        np.save(path, values)
for write in (write_numpy, write_hdf5, write_nested):
    try:
        write()
    except InputError as error:
        print(error)
"""


def test_no_room_is_one_line_that_names_the_target(tmp_path: Path) -> None:
    """The kernel refuses to let files grow over a limit, as it does on a full disk."""
    answer = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        str(tmp_path / name) for name in ("a.npy", "a.h5", "folder/a.npy")
    ]
    assert all("cannot be written (File too large); make room" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_bytes_of_no_use_end_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_bytes(b" \n\t")
    (tmp_path / "full.txt").write_bytes(b" x ")
    assert read_bytes(tmp_path / "full.txt") == b" x "
    for name, says in (("blank.txt", "is empty; draw it"), ("nowhere", "no such file"), (".", "is a folder")):
        with pytest.raises(InputError, match=says):
            read_bytes(tmp_path / name, "draw it")
