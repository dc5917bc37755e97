"""`facerecon train NAME`: from a stage's settings file to trained weights.

A settings file has two parts, both optional: `training` (facerecon.training.settings.TrainingSettings; what it leaves
out is for an auxiliary network as the carried weights were trained, `training.tasks.settings.TRAINING`) and `task` (the
settings of the system or auxiliary network itself; systems define them in `systems/NAME/settings.py`).

Each trainable thing is a module with

    make_task(settings: dict, data: list[Path], seed: int, batch_size: int) -> TrainingTask

`facerecon.systems.NAME.training` for a system, which also takes `face_model: Path | None`,
`facerecon.training.tasks.NAME` for an auxiliary network.
"""

import difflib
import importlib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from facerecon.artefacts import check_file_target
from facerecon.errors import InputError
from facerecon.fingerprint import stage_fingerprint
from facerecon.systems.registry import SYSTEMS
from facerecon.training.settings import TrainingSettings
from facerecon.training.trainer import TrainingResult, train

AUXILIARY_NETWORKS = ("detector", "landmarks", "parsing", "recognition")
SECTIONS = ("training", "task")


def run_training(
    name: str,
    settings: dict[str, Any] | str | Path,
    data: list[Path],
    out: Path,
    max_seconds_per_call: float = 0.0,
    face_model: str | os.PathLike | None = None,
    **overrides: Any,
) -> TrainingResult:
    """Train the system or auxiliary network `name` on `data` into the folder `out`.

    settings: the two sections, or a YAML file of them. data: what the task reads (shards of preprocessed photographs
    for a system, folders of synthetic photographs for an auxiliary network). max_seconds_per_call: as in `train`.
    face_model: file of the model that a system's coefficients belong to, the shards' own; None is the open one.
    overrides: training settings that take precedence, such as steps or seed; None leaves the setting.
    Raises InputError for unknown names and keys, values out of range, missing data, and a diverging run.
    """
    sections = read_settings(settings)
    given = {**sections["training"], **{key: value for key, value in overrides.items() if value is not None}}
    defaults: dict[str, Any] = {}
    if name in AUXILIARY_NETWORKS:
        # Imported here: a change of the auxiliary networks' settings is no change of a system's training.
        from facerecon.training.tasks.settings import training_defaults

        defaults = training_defaults(name, given)
    try:
        training = TrainingSettings(**{**defaults, **given})
    except ValidationError as error:
        raise InputError(f"training settings of {name}: {describe_validation_error(error)}") from None
    check_file_target(Path(out) / "model.safetensors")
    missing = [path for path in map(Path, data) if not path.exists()]
    if missing or not data:
        raise InputError(f"{missing[0] if missing else 'no data'}: training {name} needs existing files or folders")
    module, own = _task_module(name), {}
    if face_model is not None:
        if name not in SYSTEMS:
            raise InputError(f"{face_model}: {name} is trained without a face model; leave it out")
        own["face_model"] = Path(face_model)
    try:
        task = module.make_task(
            sections["task"], [Path(path) for path in data], seed=training.seed, batch_size=training.batch_size, **own
        )
    except ValidationError as error:
        raise InputError(f"task settings of {name}: {describe_validation_error(error)}") from None
    return train(task, training, Path(out), stage_fingerprint(f"training.{name}"), max_seconds_per_call)


def read_settings(settings: dict[str, Any] | str | Path) -> dict[str, dict[str, Any]]:
    """The sections `training` and `task` of a settings dict or YAML file. Raises InputError for anything else."""
    source = "settings"
    if not isinstance(settings, dict):
        source, path = str(settings), Path(settings)
        if not path.is_file():
            raise InputError(f"{path}: no such settings file; give a YAML file with sections training and task")
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError):
            raise InputError(f"{path}: not valid YAML") from None
    if not isinstance(settings, dict):
        raise InputError(f"{source}: must be a mapping with sections {' and '.join(SECTIONS)}")
    for section, values in settings.items():
        if section not in SECTIONS:
            raise InputError(f"{source}: unknown section {section!r}{_nearest(str(section), SECTIONS)}")
        if not isinstance(values or {}, dict):
            raise InputError(f"{source}: section {section} must be a mapping")
    return {section: dict(settings.get(section) or {}) for section in SECTIONS}


def describe_validation_error(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: setting, what is wrong, value given."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')} (given: {problem['input']!r})"


def _task_module(name: str) -> Any:
    if name in SYSTEMS:
        return importlib.import_module(f"facerecon.systems.{name}.training")
    if name in AUXILIARY_NETWORKS:
        return importlib.import_module(f"facerecon.training.tasks.{name}")
    names = (*SYSTEMS, *AUXILIARY_NETWORKS)
    raise InputError(f"nothing named {name!r} can be trained; choose from {', '.join(names)}{_nearest(name, names)}")


def _nearest(word: str, names: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
