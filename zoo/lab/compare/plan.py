"""A comparison worked out: the settings, the size and the steps of every arm, and the runs that it takes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from zoo.data.source import Metric, Source
from zoo.errors import PluginError, UsageError
from zoo.lab.compare.judge import MIN_EFFECT
from zoo.lab.compare.request import Budget, Request
from zoo.lab.compare.speed import measure_step_seconds
from zoo.lab.match import match
from zoo.lab.size import Size, measure_size
from zoo.lab.tier import Tier, find_tier
from zoo.model.backbone import Backbone
from zoo.model.build import check_pattern
from zoo.model.faults import describe_error, explain
from zoo.plugin.registry import get_registry
from zoo.train.causality import check_causal_classes
from zoo.train.find_data import source_of, text_path
from zoo.train.machine import resolve_auto
from zoo.train.optimizer import check_optimizer
from zoo.train.plugins import plugins_of
from zoo.train.session import model_for
from zoo.train.settings import Settings, validate

FORMAT = 1
"""Counts the ways in which a comparison was written down."""

_EVALUATIONS = 8
"""So often at least a run is evaluated, if it has as many steps: a curve needs some points."""


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
        arms: data by data, in the order of the patterns.
        checksums: of each text or task, by its name.
        plugins: what gives each mixer and task, as `zoo.train.plugins.plugins_of` records it.
        min_effects: by metric, the difference below which one is called small.
        paths: the absolute path of each text of the user's own, by its name.
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


def make_plan(request: Request) -> Plan:
    """Work a request out: build each model once, measure it, and match it.

    Raises:
        UsageError: a mistake in the request, data that is not available, or a first pattern that cannot be built.
        PluginError: a mixer's or a task's plugin is broken or missing.
    """
    tier = find_tier(request.tier)
    seeds = tier.seeds if request.seeds is None else request.seeds
    lrs = tier.lrs if request.lrs is None else request.lrs
    sources = _check_all(request, tier)
    device = resolve_auto(tier.settings(request.patterns[0], request.data[0], request.settings)).device
    jobs = _jobs(request.jobs, device)
    threads = max(1, torch.get_num_threads() // jobs)
    arms = [arm for data, source in sources.items() for arm in _arms_of(request, tier, source, data, threads)]
    return Plan(
        command=request.command,
        tier=tier.name,
        match=request.match,
        seeds=tuple(range(seeds)),
        sweep_seed=seeds,
        lrs=tuple(lrs),
        jobs=jobs,
        arms=tuple(arms),
        checksums={data: source.sha256 for data, source in sources.items()},
        plugins={name: origin for arm in arms if arm.settings for name, origin in plugins_of(arm.settings).items()},
        min_effects={**MIN_EFFECT, **request.min_effects},
        paths={data: path for data in request.data if (path := text_path(data)) is not None},
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


def _jobs(asked: int | None, device: str) -> int:
    """Runs at a time: on a CPU one for each core, elsewhere one after the other."""
    if asked is not None:
        return asked
    return torch.get_num_threads() if device == "cpu" else 1


def _check_all(request: Request, tier: Tier) -> dict[str, Source]:
    """Refuse a mistake in any pattern, text, task or setting, before the search for sizes, which takes a while.

    Returns:
        The texts and tasks by name.
    """
    sources = {}
    for data in request.data:
        for pattern in request.patterns:
            settings = tier.settings(pattern, data, request.settings)
            check_pattern(
                pattern, layers=settings.layers, channel_mixer=settings.channel_mixer, residual=settings.residual
            )
            check_causal_classes(settings, get_registry())
        resolved = resolve_auto(tier.settings(request.patterns[0], data, request.settings))
        check_optimizer(resolved)
        sources[data] = source_of(resolved)
    return sources


def _arms_of(request: Request, tier: Tier, source: Source, data: str, threads: int) -> Iterator[Arm]:
    """The arms of one text or task. One that cannot be built keeps the reason; the first one has to be built."""
    target = None
    for index, pattern in enumerate(request.patterns):
        try:
            settings = resolve_auto(tier.settings(pattern, data, {**request.settings, "threads": threads}))
            settings, size, ratio = _sized(request, settings, source, target)
            settings = settings.model_copy(update=_length(request.budget, settings, source, size))
            kept = {name: value for name, value in _kept(settings, source).items() if name not in request.settings}
            settings = settings.model_copy(update=kept)
        except Exception as error:  # whatever a mixer does, the others go on
            cause = describe_error(error)
            if index == 0:
                kind = PluginError if isinstance(explain(error) or error, PluginError) else UsageError
                raise kind(
                    f"the first pattern, {pattern}, with which the others are compared, cannot be built: {cause}"
                ) from error
            yield Arm(pattern, data, None, None, error=cause)
            continue
        if target is None and request.match != "none":
            target = _quantity(size, request.match)
        yield Arm(pattern, data, settings, size, ratio)


def _sized(
    request: Request, settings: Settings, source: Source, target: float | None
) -> tuple[Settings, Size, float | None]:
    """The settings at the width that was asked for, or at which the model is as big as the target."""
    build, targets = partial(_build, source), _targets(source, settings)
    if target is None or request.match == "none":
        size = measure_size(build(settings), length=settings.context, targets=targets)
        return settings, size, None if request.match == "none" else 1.0
    matched = match(build, settings, quantity=request.match, target=target, length=settings.context, targets=targets)
    return matched.settings, matched.size, matched.ratio


def _build(source: Source, settings: Settings) -> Backbone:
    return model_for(source, settings, get_registry())


def _targets(source: Source, settings: Settings) -> int | None:
    """At how many positions of a sequence there is something to predict, on average; None for nearly all."""
    batch = source.draw(context=settings.context, batch=64, seed=0, step=0)
    return None if batch.where is None else round(len(batch.where) / 64)


def _quantity(size: Size, what: str) -> float:
    value = {"params": size.parameters, "flops": size.training_flops, "state": size.state}[what]
    if not value:
        raise UsageError("the first pattern has no state that others could match; choose another `match`")
    return float(value)


def _kept(settings: Settings, source: Source) -> dict[str, Any]:
    """What a run of a comparison leaves behind: one checkpoint, to go on from, and a curve; and no samples of text."""
    samples = settings.sample_tokens if source.metric == "accuracy" else 0
    often = min(settings.evaluate_every, max(1, settings.steps // _EVALUATIONS))
    return {"keep_checkpoints": 1, "sample_tokens": samples, "evaluate_every": often, "log_every": often}


def _length(budget: Budget | None, settings: Settings, source: Source, size: Size) -> dict[str, Any]:
    """How many steps the budget allows."""
    if budget is None:
        return {}
    if budget.kind == "steps":
        steps = budget.amount
    elif budget.kind == "flops":
        steps = budget.amount / (size.training_flops * settings.batch * settings.accumulate * settings.context)
    else:
        steps = budget.amount / measure_step_seconds(settings, source)
    if steps < 1:
        raise UsageError(f"the budget {budget} is over before the first step; give more")
    return {"steps": int(steps)}
