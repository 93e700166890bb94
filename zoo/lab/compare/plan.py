"""A comparison worked out: the settings, the size and the steps of every arm, and the runs that it takes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zoo.data.source import Metric
from zoo.errors import UsageError
from zoo.lab.compare.executors import DEFAULT
from zoo.lab.compare.judge import MIN_EFFECT
from zoo.lab.size import Size
from zoo.train.settings import Settings, validate

FORMAT = 1
"""Counts the ways in which a comparison was written down."""


@dataclass(frozen=True)
class Arm:
    """One pattern on one text or task.

    Attributes:
        pattern: of token mixers.
        data: as it was asked for.
        settings: of its runs, but for the learning rate and the seed; None if it cannot be built.
        size: of its model, at the training length; None likewise.
        ratio: of what was matched, over that of the first pattern; None if nothing was.
        error: why it cannot be built.
    """

    pattern: str
    data: str
    settings: Settings | None
    size: Size | None
    ratio: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Trial:
    """One run of an arm. A `sweep` looks for the learning rate, on a seed that no result is taken from."""

    arm: int
    lr: float
    seed: int
    sweep: bool


@dataclass(frozen=True)
class Plan:
    """All that a comparison will do.

    Attributes:
        command: that makes it again.
        tier: its name.
        match: what was made equal.
        seeds: whose results count.
        sweep_seed: on which learning rates are tried.
        lrs: to be tried, if more than one; with one, or none, there is nothing to try.
        jobs: runs at a time.
        on: the executor that makes them, with its options.
        arms: data by data, in the order of the patterns.
        checksums: of each text or task, by its name.
        plugins: what gives each mixer and task, as `zoo.train.plugins.plugins_of` records it.
        min_effects: by metric, the difference below which one is called small.
        paths: the absolute path of each text of the user's own, by its name.
        solved: the accuracy from which on a task counts as solved; None for that of each task.
        noise_floor: whether it is about how far seeds alone move the figures.
    """

    command: str
    tier: str
    match: str
    seeds: tuple[int, ...]
    sweep_seed: int
    lrs: tuple[float, ...]
    jobs: int
    arms: tuple[Arm, ...]
    checksums: Mapping[str, str]
    plugins: Mapping[str, Mapping[str, str]]
    min_effects: Mapping[Metric, float] = field(default_factory=lambda: dict(MIN_EFFECT))
    paths: Mapping[str, str] = field(default_factory=dict)
    on: str = DEFAULT
    solved: float | None = None
    noise_floor: bool = False

    @property
    def data(self) -> tuple[str, ...]:
        """The texts and tasks, in order."""
        return tuple(dict.fromkeys(arm.data for arm in self.arms))

    def sweeps(self, arm: int) -> tuple[Trial, ...]:
        """The runs that look for an arm's learning rate; none where there is no choice."""
        if self.arms[arm].settings is None or len(self.lrs) < 2:
            return ()
        return tuple(Trial(arm, lr, self.sweep_seed, sweep=True) for lr in self.lrs)

    def results(self, arm: int, lr: float) -> tuple[Trial, ...]:
        """The runs whose results count, once the learning rate is known."""
        return tuple(Trial(arm, lr, seed, sweep=False) for seed in self.seeds)

    def only_lr(self, arm: int) -> float:
        """The learning rate of an arm that has no choice."""
        settings = self.arms[arm].settings
        assert settings is not None
        return self.lrs[0] if self.lrs else settings.lr

    def settings(self, trial: Trial) -> Settings:
        """The settings of one run."""
        settings = self.arms[trial.arm].settings
        assert settings is not None
        return settings.model_copy(update={"lr": trial.lr, "seed": trial.seed})

    @property
    def runs(self) -> int:
        """How many runs it takes in all."""
        return sum(
            len(self.sweeps(index)) + len(self.seeds) for index, arm in enumerate(self.arms) if arm.settings is not None
        )


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """A plan as JSON has it."""
    saved = asdict(plan) | {"format": FORMAT}
    for arm, made in zip(saved["arms"], plan.arms, strict=True):
        arm["settings"] = made.settings.model_dump() if made.settings is not None else None
    return saved


def plan_from_json(saved: Mapping[str, Any]) -> Plan:
    """The plan that gave this.

    Raises:
        UsageError: another version of the zoo wrote it, or it was changed.
    """
    try:
        if saved["format"] != FORMAT:
            raise UsageError(f"the comparison's plan has format {saved['format']}; this zoo reads format {FORMAT}")
        arms = tuple(
            Arm(
                **arm
                | {
                    "settings": validate(arm["settings"]) if arm["settings"] is not None else None,
                    "size": Size(**arm["size"]) if arm["size"] is not None else None,
                }
            )
            for arm in saved["arms"]
        )
        values = {name: value for name, value in saved.items() if name != "format"}
        sequences = {name: tuple(values[name]) for name in ("seeds", "lrs")}
        return Plan(**values | sequences | {"arms": arms})
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the comparison's plan is damaged ({type(error).__name__}: {error})") from None
