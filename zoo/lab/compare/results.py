"""What a comparison says: each arm's mean and interval, and which differ by more than chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from zoo.data.load import task_call
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.grid import chosen_lr
from zoo.lab.compare.plan import Arm, Plan, Trial
from zoo.lab.compare.trial import Outcome, read_outcome
from zoo.lab.statistics import Difference, Estimate, differences, estimate

Metric: TypeAlias = Literal["accuracy", "loss"]


@dataclass(frozen=True)
class ArmResult:
    """What one pattern came to on one text or task.

    Attributes:
        arm: as planned.
        index: its number in the plan.
        lr: the learning rate of its runs; None if it has none.
        sweep: the runs that looked for it.
        runs: those that count, by seed.
        estimate: of the metric over the seeds that did not fail; None if all did, or none was made yet.
        error: why it has no figure, or why some of its seeds have none.
    """

    arm: Arm
    index: int
    lr: float | None
    sweep: Mapping[Trial, Outcome]
    runs: Mapping[Trial, Outcome]
    estimate: Estimate | None
    error: str | None

    def values(self, metric: Metric) -> dict[int, float]:
        """The metric by seed."""
        found = {trial.seed: value_of(outcome, metric) for trial, outcome in self.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}


@dataclass(frozen=True)
class DataResult:
    """What all patterns came to on one text or task.

    Attributes:
        metric: ``"accuracy"`` of a task, the higher the better; ``"loss"`` of a text, the lower the better.
    """

    data: str
    metric: Metric
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Results:
    """What a comparison came to, or has come to so far."""

    plan: Plan
    data: tuple[DataResult, ...]


def gather(plan: Plan, folder: Folder) -> Results:
    """Read what the runs came to."""
    return Results(plan, tuple(_data_result(plan, folder, data) for data in plan.data))


def metric_of(data: str) -> Metric:
    """By what patterns are compared on it."""
    return "accuracy" if task_call(data) is not None else "loss"


def value_of(outcome: Outcome, metric: Metric) -> float | None:
    """The metric of a run; None if it has none."""
    value = outcome.summary[f"validation_{metric}"] if outcome.summary is not None else None
    return value if value is not None and math.isfinite(value) else None


def _data_result(plan: Plan, folder: Folder, data: str) -> DataResult:
    read: dict[int, tuple[float | None, dict[Trial, Outcome], dict[Trial, Outcome]]] = {}
    for index, arm in enumerate(plan.arms):
        if arm.data == data:
            sweep = {trial: read_outcome(folder.trial(plan, trial)) for trial in plan.sweeps(index)}
            lr = chosen_lr(plan, index, sweep) if arm.settings is not None else None
            trials = plan.results(index, lr) if lr is not None else ()
            read[index] = lr, sweep, {trial: read_outcome(folder.trial(plan, trial)) for trial in trials}
    metric = metric_of(data)
    arms = tuple(_arm_result(plan.arms[index], index, metric, *found) for index, found in read.items())
    told = differences({arm.arm.pattern: arm.values(metric) for arm in arms if arm.values(metric)})
    return DataResult(data, metric, arms, tuple(told))


def _arm_result(  # noqa: PLR0917 - what was read of an arm, in the order in which it was read
    arm: Arm, index: int, metric: Metric, lr: float | None, sweep: dict[Trial, Outcome], runs: dict[Trial, Outcome]
) -> ArmResult:
    values = [value for outcome in runs.values() if (value := value_of(outcome, metric)) is not None]
    errors = [f"seed {trial.seed}: {outcome.error}" for trial, outcome in runs.items() if outcome.error]
    error = arm.error or ("; ".join(errors) or None)
    return ArmResult(arm, index, lr, sweep, runs, estimate(values) if values else None, error)
