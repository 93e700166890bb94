"""What a comparison says: each arm's mean and interval, and which differ by more than chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zoo.data.load import create_task, task_call
from zoo.data.source import Metric, Source
from zoo.data.task_data import TaskData
from zoo.lab.compare.changed import ChangedPlugin, changed_plugins
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.grid import chosen_lr
from zoo.lab.compare.judge import Conclusion, Judgement, is_above_guessing, judge
from zoo.lab.compare.machines import Machines, machines_of
from zoo.lab.compare.plan import Arm, Plan, Trial
from zoo.lab.compare.trial import Outcome, read_outcome
from zoo.lab.letters import letters
from zoo.lab.noise_floor import NoiseFloor, noise_floor
from zoo.lab.solving import SolveRate, solve_rate
from zoo.lab.statistics import Estimate, Sample, Scores, differences, estimate, half_width
from zoo.train.scores import read_scores


@dataclass(frozen=True)
class ArmResult:
    """The result of one pattern on one text or task.

    Attributes:
        arm: as planned.
        index: its number in the plan.
        lr: the learning rate of its runs; None if it has none.
        sweep: the runs that looked for it.
        runs: those that count, by seed.
        sample: the metric of the seeds that did not fail; None if all did, or none was made yet.
        estimate: of the mean over seeds; None likewise.
        error: why it has no figure, or why some of its seeds have none.
    """

    arm: Arm
    index: int
    lr: float | None
    sweep: Mapping[Trial, Outcome]
    runs: Mapping[Trial, Outcome]
    sample: Sample | None
    estimate: Estimate | None
    error: str | None

    def values(self, metric: Metric) -> dict[int, float]:
        """The metric by seed."""
        found = {trial.seed: value_of(outcome, metric) for trial, outcome in self.runs.items()}
        return {seed: value for seed, value in found.items() if value is not None}


@dataclass(frozen=True)
class DataResult:
    """The results of all patterns on one text or task.

    Attributes:
        metric: ``"accuracy"`` of a task, the higher the better; ``"loss"`` of a text, the lower the better.
        judgements: of every pair of arms that have a figure.
        guess_levels: the accuracies that guessing gives, by length and by slice, as those of a run; empty for a text.
        guess_bound: how high guessing may come by chance on a test of this size; None for a text.
        min_effect: smaller differences are called small, in the units of the metric.
        unigram_loss: the loss that token frequencies alone give, where masked tokens were predicted; None otherwise.
        unit: of the loss.
        solved: the accuracy from which on the task counts as solved; None where there is no such line.
        letters: by pattern, such that two arms share one where the test does not tell them apart; empty where there are
            too few arms or seeds for a test.
    """

    data: str
    metric: Metric
    arms: tuple[ArmResult, ...]
    judgements: tuple[Judgement, ...]
    guess_levels: Mapping[str, Mapping[str, float]]
    guess_bound: float | None
    min_effect: float
    unigram_loss: float | None = None
    unit: str = Source.unit
    solved: float | None = None
    letters: Mapping[str, str] = field(default_factory=dict)

    def solve_rate(self, arm: ArmResult) -> SolveRate | None:
        """How many seeds of an arm solve the task; None where that is not asked, or no seed has a figure."""
        if self.solved is None or arm.sample is None:
            return None
        return solve_rate(list(arm.sample.values.values()), self.solved)

    def noise_floor(self, arm: ArmResult) -> NoiseFloor | None:
        """The spread of an arm over its seeds; None with fewer than two."""
        values = [] if arm.sample is None else list(arm.sample.values.values())
        return noise_floor(values) if len(values) > 1 else None

    @property
    def guess(self) -> float | None:
        """The accuracy that guessing gives at the training length; None for a text."""
        return next(iter(self.guess_levels["length"].values())) if self.guess_levels else None

    def is_above_guessing(self, arm: ArmResult) -> bool:
        """Whether an arm has learned something, by more than chance."""
        return arm.estimate is not None and is_above_guessing(arm.estimate, self.guess_bound)


@dataclass(frozen=True)
class Results:
    """The results of a comparison, or those so far.

    Attributes:
        changed: the mixers and tasks that are not the same in all runs.
        machines: on which the runs were made.
    """

    plan: Plan
    data: tuple[DataResult, ...]
    changed: tuple[ChangedPlugin, ...] = ()
    machines: Machines = field(default_factory=Machines)


def gather(plan: Plan, folder: Folder) -> Results:
    """Read the outcomes of the runs."""
    data = tuple(_data_result(plan, folder, data) for data in plan.data)
    trials = [trial for result in data for arm in result.arms for trial in (*arm.sweep, *arm.runs)]
    runs = [folder.trial(plan, trial) for trial in trials]
    return Results(plan, data, changed_plugins(runs), machines_of(runs))


def metric_of(data: str) -> Metric:
    """By what patterns are compared on it."""
    return "accuracy" if task_call(data) is not None else "loss"


def value_of(outcome: Outcome, metric: Metric) -> float | None:
    """The metric of a run; None if it has none."""
    if outcome.summary is None:
        return None
    value = outcome.summary.validation_accuracy if metric == "accuracy" else outcome.summary.validation_loss
    return value if math.isfinite(value) else None


def _data_result(plan: Plan, folder: Folder, data: str) -> DataResult:
    read: dict[int, tuple[float | None, dict[Trial, Outcome], dict[Trial, Outcome]]] = {}
    for index, arm in enumerate(plan.arms):
        if arm.data == data:
            sweep = {trial: read_outcome(folder.trial(plan, trial)) for trial in plan.sweeps(index)}
            lr = chosen_lr(plan, index, sweep) if arm.settings is not None else None
            trials = plan.results(index, lr) if lr is not None else ()
            read[index] = lr, sweep, {trial: read_outcome(folder.trial(plan, trial)) for trial in trials}
    metric = metric_of(data)
    levels, test_size, solved = _guessing(data)
    arms = tuple(_arm_result(plan, folder, index, metric, test_size, *found) for index, found in read.items())
    samples = {arm.arm.pattern: arm.sample for arm in arms if arm.sample is not None}
    estimates = {arm.arm.pattern: arm.estimate for arm in arms if arm.estimate is not None}
    bound = None
    if levels and test_size:
        guess = next(iter(levels["length"].values()))
        bound = guess + half_width(guess * (1 - guess) / test_size)
    min_effect = plan.min_effects[metric]
    judgements = judge(differences(samples), estimates, metric=metric, guess=bound, min_effect=min_effect)
    threshold = None if metric == "loss" else solved if plan.solved is None else plan.solved
    summaries = [outcome.summary for arm in arms for outcome in arm.runs.values() if outcome.summary is not None]
    # all runs are measured on the same tokens
    unigram_loss = next((each.unigram_loss for each in summaries if math.isfinite(each.unigram_loss)), None)
    unit = next((each.unit for each in summaries), Source.unit)
    return DataResult(
        data,
        metric,
        arms,
        judgements,
        levels,
        bound,
        min_effect,
        unigram_loss,
        unit,
        threshold,
        _letters(arms, judgements, metric),
    )


def _letters(arms: Sequence[ArmResult], judgements: Sequence[Judgement], metric: Metric) -> dict[str, str]:
    """The letters of the arms that have a figure, from the best one on."""
    if not judgements or any(each.conclusion is Conclusion.TOO_FEW_SEEDS for each in judgements):
        return {}
    sign = -1 if metric == "accuracy" else 1
    means = {arm.arm.pattern: sign * arm.estimate.mean for arm in arms if arm.estimate is not None}
    apart = [(each.better, each.worse) for each in judgements if each.difference.is_significant]
    return letters(sorted(means, key=lambda pattern: means[pattern]), apart)


def _guessing(data: str) -> tuple[dict[str, dict[str, float]], int | None, float | None]:
    """What guessing gives on a task, how many sequences its test has, and when it is solved; nothing of a text."""
    call = task_call(data)
    if call is None:
        return {}, None, None
    task = create_task(call)
    levels = TaskData(task, str(call)).guess_levels((task.length, *task.test_lengths))
    return levels, task.test_examples, task.solved


def _arm_result(  # noqa: PLR0917 - what was read of an arm, in the order in which it was read
    plan: Plan,
    folder: Folder,
    index: int,
    metric: Metric,
    test_size: int | None,
    lr: float | None,
    sweep: dict[Trial, Outcome],
    runs: dict[Trial, Outcome],
) -> ArmResult:
    arm = plan.arms[index]
    sample = _sample(plan, folder, runs, metric, test_size)
    errors = [f"seed {trial.seed}: {outcome.error}" for trial, outcome in runs.items() if outcome.error]
    error = arm.error or ("; ".join(errors) or None)
    return ArmResult(arm, index, lr, sweep, runs, sample, estimate(sample) if sample else None, error)


def _sample(
    plan: Plan, folder: Folder, runs: dict[Trial, Outcome], metric: Metric, test_size: int | None
) -> Sample | None:
    found = {trial: value for trial, outcome in runs.items() if (value := value_of(outcome, metric)) is not None}
    if not found:
        return None
    sums, counts = ("correct", "scored") if metric == "accuracy" else ("nats", "targets")
    tables = {trial.seed: read_scores(folder.trial(plan, trial)) for trial in found}
    scores = {seed: Scores(table[sums], table[counts]) for seed, table in tables.items() if table is not None}
    mean = sum(found.values()) / len(found)
    # Runs of earlier versions kept no scores. One prediction a sequence, each correct or wrong, varies most.
    unknown = mean * (1 - mean) / test_size if test_size else 0.0
    return Sample({trial.seed: value for trial, value in found.items()}, scores, unknown)
