# What the rules share. Nothing here writes, and nothing imports torch.

import sys
from pathlib import Path

from facerecon.errors import InputError
from facerecon.fingerprint import stage_fingerprint
from facerecon.run_plan import RunPlan, weights_id
from facerecon.settings import parse_settings


# Used only on request (--software-deployment-method apptainer); envs/facerecon.def says how it is built.
container: "envs/facerecon.sif"


wildcard_constraints:
    dataset="[a-z0-9][a-z0-9_]*",
    folder=r"\d+",
    network="detector|landmarks|parsing|recognition",
    photographs="reconstruction|networks",
    shard=r"\d+",
    system="[a-z0-9_]+",


# Jobs run in the environment that snakemake itself runs in, whether it is activated or not.
shell.prefix(f"set -euo pipefail; export PATH={Path(sys.executable).parent}:$PATH; ")

try:
    SETTINGS = parse_settings(config)
    PLAN = RunPlan(SETTINGS)
except InputError as error:
    print(f"facerecon: error: {error}", file=sys.stderr)
    sys.exit(2)


def weights(path):
    """Weights as an input. Those that no rule makes count by content (see weights_id), not by time."""
    return path if path.startswith("results/") else ancient(path)


def work_folder(kind, name):
    """Where a training keeps its checkpoints: of this code, so that a run never goes on from, or takes for its own, what
    other code has left. The trainer itself tells settings and data apart."""
    return f"results/{kind}/{name}/work/{stage_fingerprint(f'training.{name}')}"


def repeated(option, values):
    """An option once for each value."""
    return " ".join(f"{option} {value}" for value in values)


def weights_options(files):
    """Options that name weights: option -> path."""
    return " ".join(f"{option} {path}" for option, path in files.items())
