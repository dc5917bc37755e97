"""What a command is told to write to is looked at before any work."""

from pathlib import Path

import pytest

from facerecon.cli import main
from facerecon.data import manifest
from facerecon.morphable import open_face
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
