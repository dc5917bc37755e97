"""Figures made from results."""

import csv
import math
import os
from pathlib import Path

from facerecon.artefacts import atomic_file
from facerecon.errors import InputError

_NOT_LOSSES = frozenset({"step", "learning_rate", "gradient_norm"})
_TOTAL = "loss"
_OBJECTIVE = "objective"


def training_curve(metrics: str | os.PathLike, out: str | os.PathLike) -> None:
    """Plot the total training loss and its fixed-weight part, and below them every loss term and validation figure.

    Where a term's weight falls during training, the total falls with it; `objective`, if the run has it, is the part
    whose weights stay, and the title is about that part.
    metrics: metrics.csv of a training run, columns as `facerecon.training.metrics` says: `step`, `loss`, its terms,
    `objective`, `validation_*`. out: PNG. Equal metrics give equal bytes on the same version of matplotlib.
    Raises InputError if the file is missing, has no `step` and `loss` columns, or a field is not a number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = read_metrics(Path(metrics))
    total = curves.pop(_TOTAL)
    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(*total, color="silver" if _OBJECTIVE in curves else "black", marker=".", linewidth=1, label="total")
    steps, values = total
    if _OBJECTIVE in curves:
        steps, values = curves.pop(_OBJECTIVE)
        upper.plot(steps, values, color="black", marker=".", linewidth=1, label="objective: weights that stay")
    if f"validation_{_OBJECTIVE}" in curves:
        upper.plot(*curves.pop(f"validation_{_OBJECTIVE}"), "s", color="black", label="objective, validation")
    upper.legend(fontsize="small")
    upper.set_title(f"training loss {values[0]:.4g} at step {steps[0]:.0f}, {values[-1]:.4g} at the end")
    upper.set_ylabel("training loss")
    for name, (steps, values) in curves.items():
        dashed = name.startswith("validation_")
        lower.plot(steps, values, label=name, linewidth=1, marker=".", linestyle="--" if dashed else "-")
    lower.set(xlabel="step", ylabel="terms")
    if curves:
        lower.legend(fontsize="small", ncols=2)
        lower.set_yscale("symlog", linthresh=1e-4)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})


def read_metrics(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and values of each loss term and validation figure in a metrics.csv; rows without a value are left out."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: cannot be read; give the metrics.csv of a training run") from None
    if "step" not in columns or _TOTAL not in columns or not rows:
        raise InputError(f"{path}: needs rows with columns step and {_TOTAL}; give the metrics.csv of a training run")
    curves = {}
    for column in columns:
        if column in _NOT_LOSSES:
            continue
        points = [(_number(row["step"], path), _number(row[column], path)) for row in rows if row[column]]
        if points:
            steps, values = zip(*points, strict=True)
            curves[column] = (list(steps), list(values))
    if _TOTAL not in curves:
        raise InputError(f"{path}: the column {_TOTAL} is empty; give the metrics.csv of a training run")
    return curves


def _number(text: str | None, path: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}: {text!r} is not a finite number; give the metrics.csv of a training run")
    return value
