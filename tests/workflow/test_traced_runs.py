"""Real runs of stages import nothing that their fingerprints do not cover."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from facerecon.fingerprint import stage_closure
from facerecon.morphable.storage import load_face_model

TESTS = Path(__file__).parents[1]

# One process runs all stages through the command line, since importing torch takes longest; the package's own modules
# are forgotten before each.
TRACE = """
import json, sys
found = {}
for stage, arguments in json.load(sys.stdin).items():
    for name in [name for name in sys.modules if name.split(".")[0] == "facerecon"]:
        del sys.modules[name]
    from facerecon.cli import main
    try:
        main(arguments)
    except SystemExit as end:
        if end.code:
            raise
    found[stage] = [name for name in sys.modules if name.split(".")[0] == "facerecon"]
print(json.dumps(found))
"""

TRAINING = {
    "training": {"steps": 2, "batch_size": 2, "threads": 1, "log_every": 1},
    "task": {"weights": {"identity": 0}, "validation_photographs": 2},
}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Stage -> modules of this package that were imported once it had run."""
    folder = tmp_path_factory.mktemp("traces")
    write_shard = runpy.run_path(str(TESTS / "systems" / "conftest.py"))["write_shard"]
    write_shard(folder / "shard.h5", load_face_model(None, level=1))
    commands = {
        "synthesis.photographs": "data synthesize --subjects 1 --photos-per-subject 1 --size 64 --out photographs",
        "data.manifest": "data manifest --adapter synthetic --name synthetic photographs --out manifest.csv",
        "synthesis.now_benchmark": "data benchmark --subjects 1 --out benchmark",
        "training.amplitude_phase": "train amplitude_phase --data shard.h5 --out run --settings",
        "report.training_curve": "report training-curve run/metrics.csv --out curve.png",
        "predict.mean_face": "predict now --system mean_face --benchmark benchmark --out predictions",
        "evaluate.now": "evaluate now --benchmark benchmark --predictions predictions --system mean --out mean.csv",
        "report.now": "report now --evaluations mean.csv --out now_eval.csv",
    }
    arguments = {stage: command.split() for stage, command in commands.items()}
    arguments["training.amplitude_phase"].append(json.dumps(TRAINING))
    answer = subprocess.run(
        [sys.executable, "-c", TRACE], input=json.dumps(arguments), cwd=folder, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert (folder / "now_eval.csv").stat().st_size > 0
    assert (folder / "run" / "model.safetensors").stat().st_size > 0
    return json.loads(answer.stdout.splitlines()[-1])


def test_runs_stay_in_their_closure(traces: dict[str, list[str]]) -> None:
    for stage, modules in traces.items():
        used = {name for name in modules if name != "facerecon.cli" and not name.startswith("facerecon.cli.")}
        assert used <= set(stage_closure(stage)), stage


def test_the_trace_sees_what_training_imports_late(traces: dict[str, list[str]]) -> None:
    assert "facerecon.losses.frequency" in traces["training.amplitude_phase"]
    assert "facerecon.systems.amplitude_phase.training" in traces["training.amplitude_phase"]
    assert "facerecon.losses.frequency" not in traces["evaluate.now"]
