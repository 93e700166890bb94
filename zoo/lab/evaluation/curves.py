"""The curves of several runs, read from their logs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.files.logs import read_metrics, read_rows
from zoo.files.strict_json import from_json
from zoo.plugin.options import did_you_mean
from zoo.train.listing import SIGN, find_runs, is_comparison, is_run
from zoo.train.manifest import read_sealed

X = {
    "steps": "step",
    "tokens": "tokens of training",
    "seconds": "seconds of training",
    "flops": "floating-point operations of training",
}
"""What curves can be drawn against, and what the axis says."""

Y = {
    "validation": ("validation_loss", "validation loss"),
    "loss": ("train_loss", "training loss"),
    "accuracy": ("validation_accuracy", "validation accuracy (%)"),
    "lr": ("lr", "learning rate"),
    "gradient-norm": ("gradient_norm", "norm of the gradient"),
}
"""What can be drawn: its name in metrics.jsonl, and what the axis says."""

_UNIMPORTANT = {"mixer", "device", "threads", "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints"}
"""Settings that say nothing in a legend."""

_MAX_DIFFERENCES = 3


@dataclass(frozen=True, eq=False)
class RunCurve:
    """The curve of one run.

    Attributes:
        run: its folder.
        label: short, and of no other run.
        x, y: the points, ``(n,)`` each; an accuracy in percent.
    """

    run: Path
    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overlay:
    """Curves of runs.

    Attributes:
        x, y: what they show, of `X` and `Y`.
        unit: of a loss; empty where the runs have different ones.
        notes: what makes the curves hard to compare, or was left out, a line each.
    """

    x: str
    y: str
    unit: str
    curves: Sequence[RunCurve]
    notes: Sequence[str] = ()


def read_overlay(paths: Sequence[Path], *, x: str = "steps", y: str = "validation") -> Overlay:
    """The curves of runs; torch is needed for floating-point operations only.

    Args:
        paths: folders of runs; that of a comparison stands for its runs that count.
        x: what they are drawn against, of `X`.
        y: what is drawn, of `Y`.

    Raises:
        UsageError: a folder that is no run, a damaged one, or nothing to draw.
    """
    for name, value, known in (("x", x, X), ("y", y, Y)):
        if value not in known:
            raise UsageError(f"`{name}`={value}{did_you_mean(value, known)}: it should be one of {', '.join(known)}")
    runs = list(dict.fromkeys(run for path in paths for run in _runs_in(path)))
    configs = [_read(run, SIGN) for run in runs]
    curves, notes = [], list(_warnings(configs) if y in {"validation", "loss"} else ())
    for run, label in zip(runs, labels_of(configs, runs), strict=True):
        points = _points(run, x, Y[y][0])
        if len(points):
            scale = 100 if y == "accuracy" else 1
            curves.append(RunCurve(run, label, points[:, 0], scale * points[:, 1]))
        else:
            notes.append(f"{run} has no {Y[y][1].removesuffix(' (%)')} yet, and is left out")
    if not curves:
        raise UsageError(
            f"none of the runs has a {Y[y][1].removesuffix(' (%)')} yet: choose another `y`, or other runs"
        )
    units = {_unit(run) for run in runs}
    return Overlay(x, y, units.pop() if len(units) == 1 else "", curves, tuple(notes))


def labels_of(configs: Sequence[Mapping[str, Any]], runs: Sequence[Path]) -> list[str]:
    """A short label for each run, no two the same: its mixer, and what differs or the folder where others have it."""
    labels = [str(config.get("mixer", run.name)) for config, run in zip(configs, runs, strict=True)]
    for mixer in {label for label in labels if labels.count(label) > 1}:
        same = [index for index, label in enumerate(labels) if label == mixer]
        names = dict.fromkeys(name for index in same for name in configs[index] if name not in _UNIMPORTANT)
        differing = [name for name in names if len({repr(configs[index].get(name)) for index in same}) > 1]
        for index in same:
            values = [f"{name}={_short(configs[index].get(name))}" for name in differing]
            if 0 < len(values) <= _MAX_DIFFERENCES:
                labels[index] = f"{mixer}, {', '.join(values)}"
    for label in {label for label in labels if labels.count(label) > 1}:
        same = [index for index, other in enumerate(labels) if other == label]
        folders = [runs[index].name for index in same]
        unique = len(set(folders)) == len(folders)
        for index in same:
            labels[index] = f"{label}, {runs[index].name if unique else runs[index]}"
    return labels


def _runs_in(path: Path) -> list[Path]:
    if is_run(path):
        return [path]
    if is_comparison(path):
        return [run for run in find_runs(path) if run.name.startswith("run-")]
    if not path.is_dir():
        raise UsageError(f"there is no run at {path}: no such folder; see zoo runs")
    raise UsageError(f"{path} is neither a run nor a comparison: name folders that `zoo train` or `zoo compare` made")


def _points(run: Path, x: str, column: str) -> NDArray[np.float64]:
    """x and y of a run, ``(n, 2)``; rows without a finite figure are left out."""
    seconds = {}
    if x == "seconds":
        seconds = {row.get("step"): row.get("seconds") for row in read_rows(run / "timings.jsonl")}
    values = [
        (row["step"], seconds.get(row["step"]) if x == "seconds" else row.get("tokens", math.nan), row[column])
        for row in read_metrics(run / "metrics.jsonl")
        if row.get(column) is not None and math.isfinite(row[column])
    ]
    table = np.array(values, dtype=np.float64).reshape(-1, 3)
    if x == "steps":
        table[:, 1] = table[:, 0]
    elif x == "flops" and len(table):
        table[:, 1] = table[:, 0] * _flops_of_step(run)
    return table[np.isfinite(table[:, 1]), 1:]


def _flops_of_step(run: Path) -> float:
    """The floating-point operations of one step of training, without the optimizer."""
    from zoo.lab.evaluation.data import source_for
    from zoo.lab.size import measure_training_flops, predicted_positions
    from zoo.model.faults import explaining
    from zoo.run import load_run

    loaded = load_run(run)
    settings = loaded.settings
    with explaining():
        targets = None
        if loaded.tokenizer is None or not settings.text_objective.causal:
            targets = predicted_positions(source_for(loaded, None)[0], settings.context)
        per_token = measure_training_flops(loaded.model, length=settings.context, targets=targets)
    return per_token * settings.batch * settings.accumulate * settings.context


def _warnings(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why losses of these runs may not be comparable."""
    names = [name for name in ("data", "tokenizer", "objective") if len({str(c.get(name)) for c in configs}) > 1]
    return (
        [f"the runs differ in {' and '.join(names)}: their losses are not those of the same targets"] if names else []
    )


def _unit(run: Path) -> str:
    try:
        return str(_read(run, "summary.json").get("unit", ""))
    except UsageError:
        return ""


def _read(run: Path, name: str) -> dict[str, Any]:
    try:
        table = from_json(read_sealed(run, name))
    except FileNotFoundError:
        return {}
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{run / name} is damaged ({error}): put back a good copy") from None
    return table if isinstance(table, dict) else {}


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"…{text[-23:]}"
