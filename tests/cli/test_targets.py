"""What a command is told to write to is looked at before any work."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from facerecon.cli import main
from facerecon.data import manifest
from facerecon.morphable import completion, open_face, storage
from facerecon.preprocess import scan_registration
from facerecon.synthesis import now_benchmark, photographs

MANIFEST = "data manifest --adapter folder --name x photos --out"
SYNTHESIZE = "data synthesize --subjects 1 --photos-per-subject 1 --out"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command line that ends in status 2."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    error = capsys.readouterr().err
    assert exited.value.code == 2
    assert error.startswith("facerecon: error: ") and error.count("\n") == 1
    return error


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with stages that must not begin."""

    def begun(*arguments, **options):
        raise AssertionError("work was begun")

    for module, name in (
        (manifest, "write_manifest"),
        (photographs, "write_photographs"),
        (now_benchmark, "write_now_benchmark"),
        (open_face, "build_open_face"),
    ):
        monkeypatch.setattr(module, name, begun)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{MANIFEST} mine", "mine: is a folder; name a file"),
        (f"{MANIFEST} file/sub/m.csv", "file is not a folder"),
        (f"{SYNTHESIZE} file", "file: is a file; name a folder"),
        (f"{SYNTHESIZE} mine", "mine: exists and was not written by facerecon; choose another --out"),
        (f"{SYNTHESIZE} .", "cannot be replaced as a whole"),
        ("data benchmark --out mine", "mine: exists and was not written by facerecon"),
        ("model build-open --model-out mine --head-out head.h5", "mine: is a folder; name a file"),
        (
            "evaluate now --benchmark b --predictions p --system s --out s.csv --curves mine",
            "mine: is a folder; name a file",
        ),
    ],
)
def test_unusable_targets_are_refused_before_any_work(workplace: Path, capsys, command: str, said: str) -> None:
    assert said in refused(command.split(), capsys)
    assert (workplace / "mine" / "letter.txt").read_text() == "dear"


@pytest.fixture
def files(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Scans, textures and model files, foreign and of this package, that must stay; their content by name."""

    def begun(*arguments, **options):
        raise AssertionError("work was begun")

    monkeypatch.setattr(completion, "convert_files", begun)
    monkeypatch.setattr(scan_registration, "read_mesh", begun)
    monkeypatch.setattr(storage, "describe", begun)
    for name in ("generic_model.pkl", "scan.obj", "scan.png", "scan.pp", "face.ply", "numbers.npz", "mean.obj"):
        (workplace / name).write_bytes(name.encode())
    for name, kind in (("bfm.h5", None), ("other.h5", "somebody's"), ("own.h5", "face_model")):
        with h5py.File(workplace / name, "w") as file:
            if kind:
                file.attrs["kind"] = kind
    (workplace / "linked.h5").symlink_to("own.h5")
    for stem, mesh in (("done", "done.obj"), ("others", "something.ply")):
        np.savez(workplace / f"{stem}.npz", mesh=mesh, placement_rotation=np.eye(3), scan_distances=np.zeros(3))
        (workplace / f"{stem}.obj").write_bytes(b"mesh")
        (workplace / f"{stem}.png").write_bytes(b"picture")
    return {path.name: path.read_bytes() for path in workplace.iterdir() if path.is_file()}


REGISTER = "model register scan.obj --landmarks scan.pp --out"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("model convert flame generic_model.pkl --out generic_model.pkl", "generic_model.pkl: name a .h5 file"),
        ("model convert flame generic_model.pkl --out flame", "flame: name a .h5 file for the model"),
        ("model convert bfm2017 bfm.h5 --out bfm.h5", "bfm.h5: exists and was not written by facerecon"),
        ("model convert bfm2017 bfm.h5 --out other.h5", "other.h5: exists and was not written by facerecon"),
        ("model convert bfm2017 own.h5 --out linked.h5", "linked.h5: would replace own.h5, which is read"),
        (
            "model convert flame generic_model.pkl --landmarks own.h5 --out own.h5",
            "own.h5: would replace own.h5, which is read",
        ),
        ("model build-open --model-out bfm.h5 --head-out head.h5", "bfm.h5: exists and was not written by facerecon"),
        ("model build-open --model-out new.h5 --head-out head.npz", "head.npz: name a .h5 file"),
        ("model show own.h5 --out own.bmp", "own.bmp: name a .png or .jpg file"),
        ("model show own.h5 --mean mean.obj", "mean.obj: name a .ply file for the mean face"),
        (f"{REGISTER} registered.stl", "registered.stl: name a .obj or .ply file"),
        (f"{REGISTER} scan.obj", "scan.obj: exists and is no registration by facerecon"),
        (f"{REGISTER} scan.ply", "scan.png: exists and is no registration by facerecon"),
        (f"{REGISTER} face.ply", "face.ply: exists and is no registration by facerecon"),
        (f"{REGISTER} numbers.obj", "numbers.npz: exists and is no registration by facerecon"),
        (f"{REGISTER} others.obj", "others.obj: exists and is no registration by facerecon"),
        ("model register done.obj --landmarks scan.pp --out done.obj", "done.obj: would replace done.obj"),
    ],
)
def test_what_is_read_or_foreign_is_not_replaced(files: dict, workplace: Path, capsys, command: str, said: str) -> None:
    assert said in refused(command.split(), capsys)
    assert {path.name: path.read_bytes() for path in workplace.iterdir() if path.is_file()} == files


@pytest.mark.parametrize(
    "command",
    [
        "model convert flame generic_model.pkl --out own.h5",
        "model convert flame generic_model.pkl --out new.h5",
        f"{REGISTER} done.obj",
        f"{REGISTER} new.ply",
    ],
)
def test_own_files_are_replaced(files: dict, command: str) -> None:
    with pytest.raises(AssertionError, match="work was begun"):
        main(command.split())


def test_training_into_a_file_is_refused(workplace: Path, capsys) -> None:
    assert "file is not a folder" in refused(["train", "detector", "--data", "mine", "--out", "file"], capsys)


def test_reconstruct_keeps_the_folder_of_the_photograph(workplace: Path, capsys) -> None:
    """`reconstruct anna/anna.png --out .` would write to the folder that the photograph lies in."""
    (workplace / "anna").mkdir()
    (workplace / "anna" / "anna.png").write_bytes(b"the only copy")
    assert "anna: exists and was not written by facerecon" in refused(
        ["reconstruct", "anna/anna.png", "--out", "."], capsys
    )
    (workplace / "anna" / "provenance.json").write_text('{"stage": "reconstruct", "version": "0", "inputs": {}}')
    assert "lies in anna, which would be replaced" in refused(["reconstruct", "anna/anna.png", "--out", "."], capsys)
    assert (workplace / "anna" / "anna.png").read_bytes() == b"the only copy"
