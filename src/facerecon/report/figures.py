"""Figures made from results."""

import csv
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facerecon.artefacts import atomic_file
from facerecon.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NOT_LOSSES = frozenset({"step", "learning_rate", "gradient_norm"})
_TOTAL = "loss"
_OBJECTIVE = "objective"
_VALIDATION = "validation_"


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
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(*total, color="silver" if _OBJECTIVE in curves else "black", marker=".", linewidth=1, label="total")
    shown = total
    if _OBJECTIVE in curves:
        shown = curves.pop(_OBJECTIVE)
        upper.plot(*shown, color="black", marker=".", linewidth=1, label="objective: the part whose weights stay")
    if _VALIDATION + _OBJECTIVE in curves:
        upper.plot(
            *curves.pop(_VALIDATION + _OBJECTIVE), "s", color="black", label="objective on validation photographs"
        )
    steps, values = shown
    upper.set_title(f"training loss {values[0]:.4g} at step {steps[0]:.0f}, {values[-1]:.4g} at the end")
    upper.set_ylabel("training loss")
    _plot_terms(lower, curves)
    for axes in (upper, lower):
        axes.set_yscale("symlog", linthresh=1e-4)
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))
        axes.grid(alpha=0.3)
    with atomic_file(out) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})


def _plot_terms(axes: "Axes", curves: dict[str, tuple[list[float], list[float]]]) -> None:
    """A line a training figure; squares in the colour of their term for what validation measured."""
    colours = {}
    for name, (steps, values) in curves.items():
        term = name.removeprefix(_VALIDATION)
        if term == name or term not in curves:
            style = {"linestyle": "none", "marker": "s"} if term != name else {"linewidth": 1, "marker": "."}
            colours[term] = axes.plot(steps, values, label=name.replace("_", " "), **style)[0].get_color()
        else:
            axes.plot(steps, values, "s", color=colours.get(term))
    axes.set(xlabel="step", ylabel="terms (squares: validation)")


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
