# What the rules share. Nothing here writes, and nothing imports torch.

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from facerecon.errors import InputError
from facerecon.fingerprint import stage_fingerprint
from facerecon.run_plan import RunPlan, weights_id
from facerecon.settings import parse_settings


# Used only on request (--software-deployment-method apptainer); envs/facerecon.def says how it is built.
container: str(Path(workflow.basedir) / "envs" / "facerecon.sif")


wildcard_constraints:
    dataset="[a-z0-9][a-z0-9_]*",
    folder=r"\d+",
    network="detector|landmarks|parsing|recognition",
    photographs="reconstruction|networks|held_out",
    shard=r"\d+",
    system="[a-z0-9_]+",


# Jobs run in the environment that snakemake itself runs in, whether it is activated or not.
shell.prefix(f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; ")

try:
    SETTINGS = parse_settings(config)
    PLAN = RunPlan(SETTINGS)
except InputError as error:
    print(f"facerecon: error: {error}", file=sys.stderr)
    sys.exit(2)


# The curve of the training that the tables report, if they report one.
TRAINING_CURVES = ["results/figures/training_curve.png"] if PLAN.trains_systems() else []


def weights(*paths):
    """Weights as inputs. Those that no rule makes count by content (see weights_id), not by time."""
    return [path if path.startswith("results/") else ancient(path) for path in paths]


# The face model of the run if it is not the carried one: an input that counts by content, as weights do.
FACE_MODEL = weights(*PLAN.face_model_files)


def face_model_option(wildcards):
    """Where the face model is; what it is counts through `weights_id`."""
    return PLAN.face_model_option()


def work_folder(kind, name):
    """Where a training keeps its checkpoints: of this code, so that a run never goes on from, or takes for its own, what
    other code has left. The trainer itself tells settings and data apart."""
    return f"results/{kind}/{name}/runs/{stage_fingerprint(f'training.{name}')}"


def repeated(option, values):
    """An option once for each value, for the shell."""
    return " ".join(f"{option} {shlex.quote(value)}" for value in values)


def weights_options(files):
    """Options that name weights, for the shell: option -> path."""
    return " ".join(f"{option} {shlex.quote(path)}" for option, path in files.items())


def uncounted(value):
    """A param that changes no result, so that another value of it reruns nothing.

    value: function of the wildcards. Snakemake compares no params that are derived from `threads`.
    """
    return lambda wildcards, threads: value(wildcards)


def real_photographs(name):
    """Folder of real photographs; stops with one line if the settings name none."""
    try:
        return PLAN.real_photographs(name)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def rejection_option(wildcards):
    """When a stage of preprocessing fails; what it writes if it does not is the same."""
    return f"--max-rejected-fraction {SETTINGS.preprocess.max_rejected_fraction}"
