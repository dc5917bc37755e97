import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from facerecon import provenance
from facerecon.cli import app, main
from facerecon.cli.evaluate import Unit
from facerecon.cli.reconstruct import _parse_box
from facerecon.errors import InputError
from facerecon.evaluate.geometric import now
from facerecon.training import run as training_run
from facerecon.training.evaluation import NETWORKS
from facerecon.training.evaluation import run as networks_run
from facerecon.training.trainer import TrainingResult

GROUP = typer.main.get_command(app)


def commands(group=GROUP, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Path of words -> command, for every command of the application."""
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*path, name))
        else:
            found[(*path, name)] = command
    return found


COMMANDS = commands()


def status(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command line."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    captured = capsys.readouterr()
    return int(exited.value.code or 0), captured.out, captured.err


def test_all_commands_are_there() -> None:
    assert {" ".join(words) for words in COMMANDS} == {
        "reconstruct", "train", "provenance", "predict now", "model build-open", "model show",
        "model convert", "model register",
        "data synthesize", "data benchmark", "data build-benchmark", "data manifest",
        "preprocess landmarks", "preprocess parsing", "preprocess fit", "preprocess shard",
        "evaluate now", "evaluate networks", "evaluate aflw2000", "evaluate detection",
            "report now", "report training-curve",
        "report sheet",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_examples_that_parse(words: tuple[str, ...], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # options name files to write, which must not be there
    answer = CliRunner().invoke(app, [*words, "--help"])
    assert answer.exit_code == 0
    _, _, examples = answer.output.partition("Examples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    for line in lines:
        called, *arguments = shlex.split(line)
        assert called == "facerecon"
        assert tuple(arguments[: len(words)]) == words
        COMMANDS[words].make_context("facerecon", arguments[len(words) :])


def test_help_imports_no_stage() -> None:
    code = (
        "import sys\nfrom facerecon.cli import main\ntry:\n    main(['preprocess', 'landmarks', '--help'])\n"
        "except SystemExit:\n    print([n for n in ('torch', 'numpy', 'cv2', 'yaml') if n in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_what_the_user_can_mend_is_one_line_and_status_2(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "facerecon", "provenance", str(tmp_path / "none.h5")], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert re.fullmatch(r"facerecon: error: \S*none\.h5: no such file; [^\n]*\n", answer.stderr)


def test_errors_of_many_lines_are_joined(monkeypatch, capsys) -> None:
    def fail(path: Path) -> str:
        raise InputError("first\n  second")

    monkeypatch.setattr(provenance, "describe", fail)
    assert status(["provenance", "x"], capsys) == (2, "", "facerecon: error: first second\n")


def test_interruption_is_status_130(monkeypatch, capsys) -> None:
    def interrupt(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(provenance, "describe", interrupt)
    assert status(["provenance", "x"], capsys)[0] == 130


def test_defects_are_not_hidden(monkeypatch) -> None:
    def fail(path: Path) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(provenance, "describe", fail)
    with pytest.raises(ZeroDivisionError):
        main(["provenance", "x"])


@pytest.mark.parametrize("arguments", [["predict", "now", "--system", "nobody"], ["data", "synthesize"], ["nothing"]])
def test_wrong_options_are_status_2(arguments: list[str], capsys) -> None:
    code, _, error = status(arguments, capsys)
    assert code == 2
    assert error or arguments == ["data", "synthesize"]


def test_version(capsys) -> None:
    code, out, _ = status(["--version"], capsys)
    assert (code, out) == (0, "facerecon 0.1.0\n")


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"facerecon": "facerecon.cli:main"}


@pytest.mark.parametrize(("text", "box"), [(None, None), ("1,2,3.5,4", (1, 2, 3.5, 4)), (" 1, 2 ,3,4", (1, 2, 3, 4))])
def test_boxes(text: str | None, box: tuple[float, ...] | None) -> None:
    assert _parse_box(text) == box


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,0,4", "1,2,3,-4", "nan,1,2,3", "inf,1,2,3"])
def test_wrong_boxes(text: str) -> None:
    with pytest.raises(InputError, match="--box"):
        _parse_box(text)


def test_settings_are_refused_before_training(capsys) -> None:
    code, _, error = status(["train", "detector", "--settings", "{x", "--data", "x", "--out", "y"], capsys)
    assert code == 2
    assert "--settings: not JSON" in error


def test_evaluate_now_passes_everything_on(monkeypatch, capsys, tmp_path) -> None:
    seen = {}
    monkeypatch.setattr(now, "run", lambda *arguments, **options: seen.update(arguments=arguments, **options))
    command = f"evaluate now --benchmark b --predictions p --system s --out {tmp_path}/s.csv"
    assert status(command.split(), capsys)[0] == 0
    assert (seen["unit"], seen["strict"], seen["curves_csv"]) == ("mm", False, None)
    assert status([*command.split(), "--unit", "cm", "--strict", "--curves", f"{tmp_path}/c.csv"], capsys)[0] == 0
    assert (seen["unit"], seen["strict"], seen["curves_csv"]) == ("cm", True, tmp_path / "c.csv")
    assert seen["arguments"] == (Path("b"), Path("p"), "s", tmp_path / "s.csv")
    assert {unit.value for unit in Unit} == set(now.UNIT_TO_MM)


def test_evaluate_networks_passes_everything_on(monkeypatch, capsys, tmp_path) -> None:
    seen = {}
    monkeypatch.setattr(networks_run, "run", lambda *arguments: seen.update(arguments=arguments))
    carried = dict.fromkeys(NETWORKS, "carried")
    assert status(["evaluate", "networks", "a", "b"], capsys)[0] == 0
    assert seen["arguments"] == ([Path("a"), Path("b")], NETWORKS, carried, None, 1000, 500)
    options = f"--network parsing --parsing p.safetensors --limit 7 --identities 30 --out {tmp_path}/t.csv"
    assert status(["evaluate", "networks", "a", *options.split()], capsys)[0] == 0
    weights = {**carried, "parsing": "p.safetensors"}
    assert seen["arguments"] == ([Path("a")], ["parsing"], weights, tmp_path / "t.csv", 7, 30)
    code, _, error = status(["evaluate", "networks", "a", "--sheet", f"{tmp_path}/sheet.pdf"], capsys)
    assert code == 2 and "sheet.pdf: name a .png or .jpg file" in error


@pytest.mark.parametrize(("finished", "expected"), [(True, 0), (False, 75)])
def test_a_paused_training_has_a_status_of_its_own(monkeypatch, capsys, finished: bool, expected: int) -> None:
    seen = {}

    def run_training(*arguments, **options) -> TrainingResult:
        seen.update(options)
        return TrainingResult(finished, 1, Path("w"), {})

    monkeypatch.setattr(training_run, "run_training", run_training)
    command = "train detector --data x --out y --max-seconds-per-call 9 --checkpoint-seconds 5 --prefetch 0"
    assert status(command.split(), capsys)[0] == expected
    assert seen == {"max_seconds_per_call": 9.0, "face_model": None, "checkpoint_seconds": 5.0, "prefetch": 0}


def test_opencv_has_the_threads_of_its_job() -> None:
    code = (
        "from facerecon.cli import main\ntry:\n    main(['--version'])\nexcept SystemExit:\n    import cv2\n"
        "    print(cv2.getNumThreads())"
    )
    counts = []
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        environment.pop("OPENCV_FOR_THREADS_NUM", None)
        answer = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        counts.append(answer.stdout.splitlines()[-1])
    assert counts == ["1", "2"]


def test_convert_passes_everything_on(monkeypatch, capsys, tmp_path) -> None:
    from facerecon.morphable import completion

    seen = []
    monkeypatch.setattr(completion, "convert_files", lambda *arguments: seen.append(arguments) or ["look"])
    command = f"model convert 3ddfa a.pkl b.pkl --out {tmp_path}/m.h5"
    assert status(command.split(), capsys)[0] == 0
    assert status([*command.split(), "--landmarks", "points.pp"], capsys)[:2] == (0, "look\n")
    assert seen[0] == ("3ddfa", [Path("a.pkl"), Path("b.pkl")], tmp_path / "m.h5", None)
    assert seen[1][3] == Path("points.pp")


def test_formats_and_units_are_those_of_the_library() -> None:
    from facerecon.cli.model import Format, ScanUnit
    from facerecon.morphable.formats.registry import READERS
    from facerecon.morphable.registration import UNITS

    assert {each.value for each in Format} == set(READERS)
    assert {each.value for each in ScanUnit} == set(UNITS)


def test_register_passes_everything_on(monkeypatch, capsys, tmp_path) -> None:
    from facerecon.preprocess import scan_registration

    seen = []

    def register_file(*arguments: object) -> SimpleNamespace:
        seen.append(arguments)
        return SimpleNamespace(summary=lambda: "scan to mesh, mm: mean 0.10")

    monkeypatch.setattr(scan_registration, "register_file", register_file)
    command = f"model register scan.obj --landmarks scan.pp --unit cm --out {tmp_path}/registered.ply"
    code, out, _ = status(command.split(), capsys)
    assert code == 0 and "mean 0.10" in out
    scan, landmarks, model, out, unit = seen[0]
    assert (scan, landmarks, out, unit) == (Path("scan.obj"), Path("scan.pp"), tmp_path / "registered.ply", "cm")
    assert model.dimensions["identity"] == 80


def test_show_describes_and_draws(capsys, tmp_path) -> None:
    code, out, _ = status(["model", "show", "open", "--mean", f"{tmp_path}/mean.ply"], capsys)
    assert code == 0 and "identity: 80 coefficients" in out and (tmp_path / "mean.ply").stat().st_size > 100_000
    (tmp_path / "generic_model.pkl").write_bytes(b"\x80\x02}q\x00.")
    code, _, error = status(["model", "show", str(tmp_path / "generic_model.pkl")], capsys)
    assert code == 2 and error.count("\n") == 1 and "generic_model.pkl" in error


@pytest.mark.parametrize(
    "arguments",
    [
        "model convert flame nowhere.pkl --out model.h5",
        "train landmarks --data . --out run --face-model model.h5",
        "preprocess fit --landmarks landmarks.h5 --face-model nowhere.h5 --out fit.h5",
        "predict now --system mean_face --benchmark . --face-model nowhere.h5 --out predictions",
        "reconstruct photo.jpg --face-model nowhere.h5 --out faces",
        "model show nowhere.h5",
    ],
)
def test_face_models_that_are_not_there_end_in_one_line(arguments: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = status(arguments.split(), capsys)
    assert code == 2 and error.startswith("facerecon: error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
