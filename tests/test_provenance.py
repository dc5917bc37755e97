import json
import subprocess
from pathlib import Path

import h5py
import pytest

from facerecon import __version__, provenance
from facerecon.errors import InputError
from facerecon.provenance import (
    describe,
    provenance_record,
    read_provenance,
    source_commit,
    write_beside,
    write_folder,
    write_hdf5,
)

RECORD = provenance_record("preprocess.fit", {"b": 1, "a": [0.5, None]}, seed=3, inputs={"landmarks": "ab12"})


def test_a_record_says_where_it_came_from_and_not_when() -> None:
    assert {
        "stage": "preprocess.fit",
        "settings": {"b": 1, "a": [0.5, None]},
        "version": __version__,
        "commit": source_commit(),
        "seed": 3,
        "inputs": {"landmarks": "ab12"},
    } == RECORD


def test_only_plain_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"preprocess\.fit"):
        provenance_record("preprocess.fit", {"a": {1, 2}})
    with pytest.raises(ValueError, match="JSON"):
        provenance_record("preprocess.fit", {"a": float("nan")})


def test_records_of_all_kinds_of_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_hdf5(file, RECORD)
    write_folder(tmp_path, RECORD)
    (tmp_path / "a.json").write_text(json.dumps({"other": 1, "provenance": RECORD}))
    (tmp_path / "w.json").write_text(json.dumps({"provenance": RECORD}))
    (tmp_path / "w.safetensors").touch()
    (tmp_path / "t.csv").touch()
    write_beside(tmp_path / "t.csv", RECORD)
    for path in (tmp_path, *(tmp_path / name for name in ("a.h5", "a.json", "w.safetensors", "t.csv"))):
        assert read_provenance(path) == RECORD
        assert json.loads(describe(path)) == RECORD


def test_equal_records_are_equal_bytes(tmp_path: Path) -> None:
    for name, settings in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        (tmp_path / name).mkdir()
        write_folder(tmp_path / name, provenance_record("data.manifest", settings))
    assert (tmp_path / "a/provenance.json").read_bytes() == (tmp_path / "b/provenance.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.h5", None, "no such file"),
        ("plain.txt", b"text", "carries no provenance"),
        ("list.json", b"[1]", "carries no provenance"),
        ("bare.json", b"{}", "carries no provenance"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 9, "damaged HDF5"),
        ("w.safetensors", b"", "no card"),
        ("t.csv", b"a,b", r"t\.provenance\.json: missing"),
    ],
)
def test_files_without_a_record(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_provenance(tmp_path / name)


def test_hdf5_without_a_record_and_empty_folder(tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.h5", "w").close()
    for path in (tmp_path, tmp_path / "a.h5"):
        with pytest.raises(InputError):
            read_provenance(path)


def test_commit_of_a_checkout_and_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "facerecon"
    package.mkdir(parents=True)
    (package / "provenance.py").write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert source_commit.__wrapped__() == "unknown"
    (package / "COMMIT").write_text("0123abcd\n")
    assert source_commit.__wrapped__() == "0123abcd"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert source_commit.__wrapped__() == "unknown"  # a checkout without a commit
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "first"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert source_commit.__wrapped__() == head
    (package / "provenance.py").write_text("2")
    assert source_commit.__wrapped__() == f"{head}-dirty"
