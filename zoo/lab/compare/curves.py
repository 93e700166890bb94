"""How the runs of an arm went: the validation metric, against steps, seconds and floating-point operations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.data.source import Metric
from zoo.files.logs import read_rows
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.plan import Plan, Trial
from zoo.lab.compare.results import ArmResult

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The mean over an arm's seeds at each evaluation, and the lowest and the highest of them.

    A run that stopped early, because it was good enough, stays where it stopped. Runs that are not over, or failed,
    are left out.

    Attributes:
        steps, seconds, flops: at each evaluation; seconds grow by the mean of the seeds that were still under way.
        mean, low, high: of the metric.
    """

    steps: Numbers
    seconds: Numbers
    flops: Numbers
    mean: Numbers
    low: Numbers
    high: Numbers


def read_curve(plan: Plan, folder: Folder, result: ArmResult, metric: Metric) -> Curve | None:
    """The curve of an arm; None if no run has been evaluated."""
    over = [trial for trial, outcome in result.runs.items() if outcome.summary is not None]
    runs = [_read_run(folder, plan, trial, metric) for trial in over]
    runs = [run for run in runs if len(run)]
    if not runs or result.arm.settings is None or result.arm.size is None:
        return None
    longest = max(runs, key=len)
    values = np.full((len(runs), len(longest)), np.nan)
    seconds = np.full((len(runs), len(longest)), np.nan)
    for row, run in enumerate(runs):
        values[row] = run[-1, 2]
        values[row, : len(run)] = run[:, 2]
        seconds[row, : len(run)] = run[:, 1]
    settings = result.arm.settings
    tokens = np.array([settings.tokens(int(steps)) for steps in longest[:, 0]])
    return Curve(
        steps=longest[:, 0],
        seconds=np.nanmean(np.diff(seconds, prepend=0.0), axis=0).cumsum(),
        flops=tokens * result.arm.size.training_flops,
        mean=values.mean(0),
        low=values.min(0),
        high=values.max(0),
    )


def _read_run(folder: Folder, plan: Plan, trial: Trial, metric: Metric) -> Numbers:
    """Step, seconds and metric at each evaluation of a run, ``(n, 3)``."""
    path = folder.trial(plan, trial)
    timings = {row["step"]: row["seconds"] for row in read_rows(path / "timings.jsonl")}
    rows = [
        (row["step"], timings.get(row["step"], np.nan), row[f"validation_{metric}"])
        for row in read_rows(path / "metrics.jsonl")
        if row.get(f"validation_{metric}") is not None
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
