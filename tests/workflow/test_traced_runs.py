"""Real runs of stages import nothing that their fingerprints do not cover."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import skimage.io
from scipy.io import savemat

from facerecon.fingerprint import STAGE_MODULES, stage_closure
from facerecon.morphable.storage import load_face_model

TESTS = Path(__file__).parents[1]

# One process runs all stages through the command line, since importing torch takes longest; the package's own modules
# are forgotten before each. What the command line itself imports is left out.
TRACE = """
import json, sys
found = {}
for stage, arguments in json.load(sys.stdin).items():
    for name in [name for name in sys.modules if name.split(".")[0] == "facerecon"]:
        del sys.modules[name]
    from facerecon.cli import main
    before = set(sys.modules)
    try:
        main(arguments)
    except SystemExit as end:
        if end.code:
            raise
    found[stage] = [name for name in sys.modules if name.split(".")[0] == "facerecon" and name not in before]
print(json.dumps(found))
"""

LOOP = {"steps": 2, "batch_size": 2, "threads": 1, "log_every": 1}
TRAINING = {"training": LOOP, "task": {"weights": {"identity": 0}, "validation_photographs": 2}}
AUXILIARY = {"training": {**LOOP, "warmup_steps": 1}, "task": {"width": 4}}


PEOPLE = "--first-subject 900000 --subjects 2"  # whom no carried network has seen


def _write_real_photograph(folder: Path) -> None:
    """A photograph marked as in AFLW2000-3D and with five points."""
    folder.mkdir()
    skimage.io.imsave(folder / "face.jpg", skimage.data.astronaut())
    points = np.random.default_rng(0).uniform(100, 200, (3, 68))
    savemat(folder / "face.mat", {"pt3d_68": points, "Pose_Para": np.zeros((1, 7))})
    np.savetxt(folder / "face.txt", [[200, 110], [245, 110], [223, 135], [205, 155], [240, 155]])


def _json(settings: dict) -> str:
    return json.dumps(settings, separators=(",", ":"))


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Stage -> modules of this package that it imported."""
    folder = tmp_path_factory.mktemp("traces")
    write_shard = runpy.run_path(str(TESTS / "systems" / "conftest.py"))["write_shard"]
    write_shard(folder / "shard.h5", load_face_model(None, level=1))
    shard = "--landmarks landmarks.h5 --out"
    commands = {
        "synthesis.photographs": f"data synthesize {PEOPLE} --photos-per-subject 1 --size 64 --out photographs",
        "synthesis.now_benchmark": "data benchmark --subjects 1 --out benchmark",
        "data.manifest": "data manifest --adapter now --name now benchmark --out manifest.csv",
        "preprocess.landmarks": "preprocess landmarks --manifest manifest.csv --shard-size 2 --out landmarks.h5",
        "preprocess.parsing": f"preprocess parsing --manifest manifest.csv {shard} masks.h5",
        "preprocess.fit": f"preprocess fit {shard} fit.h5",
        "preprocess.shard": f"preprocess shard --manifest manifest.csv --masks masks.h5 --fit fit.h5 {shard} made.h5",
        "training.amplitude_phase": f"train amplitude_phase --data shard.h5 --out run --settings {_json(TRAINING)}",
        "training.landmarks": f"train landmarks --data photographs --out network --settings {_json(AUXILIARY)}",
        "report.training_curve": "report training-curve run/metrics.csv --out curve.png",
        "predict.oracle": "predict now --system oracle --benchmark benchmark --out oracle",
        "predict.amplitude_phase": "predict now --system amplitude_phase --benchmark benchmark --out trained",
        "predict.mean_face": "predict now --system mean_face --benchmark benchmark --out predictions",
        "evaluate.now": "evaluate now --benchmark benchmark --predictions predictions --system mean --out mean.csv",
        "report.now": "report now --evaluations mean.csv --out now_eval.csv",
        "evaluate.networks": "evaluate networks photographs --network parsing --out networks.csv --sheet networks.png",
        "evaluate.aflw2000": "evaluate aflw2000 real --sheet aflw2000.png",
        "evaluate.detection": "evaluate detection real --sheet portraits.png",
    }
    _write_real_photograph(folder / "real")
    arguments = {stage: command.split() for stage, command in commands.items()}
    answer = subprocess.run(
        [sys.executable, "-c", TRACE], input=json.dumps(arguments), cwd=folder, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert (folder / "now_eval.csv").stat().st_size > 0
    for made in (
        "run/model.safetensors",
        "network/model.safetensors",
        "made.h5",
        "oracle/provenance.json",
        "photographs/provenance.json",
        "networks.png",
        "aflw2000.png",
        "portraits.png",
    ):
        assert (folder / made).stat().st_size > 0
    return json.loads(answer.stdout.splitlines()[-1])


def test_runs_stay_in_their_closure(traces: dict[str, list[str]]) -> None:
    for stage, modules in traces.items():
        assert set(modules) <= set(stage_closure(stage)), stage


def test_all_stages_are_traced_but_the_other_networks(traces: dict[str, list[str]]) -> None:
    untraced = {"training.detector", "training.parsing", "training.recognition"}
    assert set(traces) == set(STAGE_MODULES) - untraced


def test_the_trace_sees_what_training_imports_late(traces: dict[str, list[str]]) -> None:
    assert "facerecon.losses.frequency" in traces["training.amplitude_phase"]
    assert "facerecon.systems.amplitude_phase.training" in traces["training.amplitude_phase"]
    assert "facerecon.losses.frequency" not in traces["evaluate.now"]
