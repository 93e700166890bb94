"""What a comparison says: each arm's mean and interval, and which differ by more than chance."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from zoo.data.load import task_call
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.grid import chosen_lr
from zoo.lab.compare.plan import Arm, Plan, Trial
from zoo.lab.compare.trial import Outcome, read_outcome
from zoo.lab.statistics import Difference, Estimate, differences, estimate
from zoo.train.logs import table

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


def results_as_json(results: Results) -> dict[str, Any]:
    """The figures as JSON has them. No time is among them: the same comparison gives the same file."""
    plan = results.plan
    return {
        "command": plan.command,
        "tier": plan.tier,
        "match": plan.match,
        "seeds": list(plan.seeds),
        "sweep_seed": plan.sweep_seed if len(plan.lrs) > 1 else None,
        "data": [
            {
                "name": result.data,
                "sha256": plan.checksums[result.data],
                "metric": result.metric,
                "arms": [_arm_as_json(arm, result.metric) for arm in result.arms],
                "differences": [asdict(difference) for difference in result.differences],
            }
            for result in results.data
        ],
    }


def results_table(results: Results) -> str:
    """A row a run, as CSV."""
    return table([_row(trial, arm, outcome) for trial, arm, outcome in _all_runs(results)])


def timings_table(results: Results) -> str:
    """The times of each run, which differ from one comparison to the next, as CSV."""
    names = ("seconds", "tokens_per_second")
    return table(
        [
            {**_names(trial, arm), **{name: outcome.summary[name] for name in names}}
            for trial, arm, outcome in _all_runs(results)
            if outcome.summary is not None
        ]
    )


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


def _arm_as_json(result: ArmResult, metric: Metric) -> dict[str, Any]:
    arm = result.arm
    return {
        "pattern": arm.pattern,
        "dim": arm.settings.dim if arm.settings is not None else None,
        "channel_mixer": arm.settings.channel_mixer if arm.settings is not None else None,
        "size": asdict(arm.size) if arm.size is not None else None,
        "ratio": arm.ratio,
        "lr": result.lr,
        "sweep": {str(trial.lr): value_of(outcome, metric) for trial, outcome in result.sweep.items()},
        "estimate": asdict(result.estimate) if result.estimate is not None else None,
        "runs": [_run_as_json(trial, outcome) for trial, outcome in result.runs.items()],
        "error": result.error,
    }


def _run_as_json(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    names = ("steps", "train_loss", "validation_loss", "validation_accuracy", "accuracies")
    return {"seed": trial.seed, **{name: (outcome.summary or {}).get(name) for name in names}, "error": outcome.error}


def _all_runs(results: Results) -> list[tuple[Trial, Arm, Outcome]]:
    return [
        (trial, arm.arm, outcome)
        for result in results.data
        for arm in result.arms
        for trial, outcome in (*arm.sweep.items(), *arm.runs.items())
        if outcome.is_over
    ]


def _names(trial: Trial, arm: Arm) -> dict[str, Any]:
    kind = "sweep" if trial.sweep else "result"
    return {"data": arm.data, "pattern": arm.pattern, "lr": trial.lr, "seed": trial.seed, "kind": kind}


def _row(trial: Trial, arm: Arm, outcome: Outcome) -> dict[str, Any]:
    summary, settings, size = outcome.summary or {}, arm.settings, arm.size
    assert settings is not None
    assert size is not None
    tokens = summary.get("steps", 0) * settings.batch * settings.accumulate * settings.context
    return {
        **_names(trial, arm),
        "dim": settings.dim,
        "parameters": size.parameters,
        "training_flops_per_token": size.training_flops,
        "state": size.state,
        "steps": summary.get("steps"),
        "tokens": tokens or None,
        "flops": tokens * size.training_flops or None,
        "train_loss": summary.get("train_loss"),
        "validation_loss": summary.get("validation_loss"),
        "validation_accuracy": summary.get("validation_accuracy"),
        "error": outcome.error,
    }
