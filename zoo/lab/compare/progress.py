"""How far the runs of a comparison are, as their files tell."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from zoo.files.claim import read_claim
from zoo.lab.compare.job import Job
from zoo.lab.compare.plan import Trial

_TAIL = 4096
"""Bytes at the end of a log that certainly hold its last line."""


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        accuracy: at the last evaluation; None before the first.
        loss: of the validation data, likewise.
    """

    trial: Trial
    step: int
    steps: int
    accuracy: float | None = None
    loss: float | None = None


def read_progress(job: Job) -> RunProgress | None:
    """How far a run is; None if no process makes it now."""
    step = read_claim(job.claim).get("step")
    if not isinstance(step, int):
        return None
    evaluated = _last_evaluation(job.folder / "metrics.jsonl")
    return RunProgress(
        job.trial, step, job.settings.steps, evaluated.get("validation_accuracy"), evaluated.get("validation_loss")
    )


def newest_step(run: Path) -> int:
    """The step of a run's newest checkpoint; -1 if it has none."""
    names = (path.name.removeprefix("step-") for path in run.glob("checkpoints/step-*"))
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def _last_evaluation(path: Path) -> dict[str, float]:
    """The newest row of the metrics in which there is an evaluation; empty if there is none near the end."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:  # it is being written, or cut
            continue
        if isinstance(row, dict) and "validation_loss" in row:
            return row
    return {}
