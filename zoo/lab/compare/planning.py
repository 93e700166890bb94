"""From a request to a plan: each model is built once, measured, and made as big as the first one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from zoo.data.source import Source
from zoo.errors import PluginError, UsageError
from zoo.lab.compare.executors import create_executor
from zoo.lab.compare.judge import MIN_EFFECT
from zoo.lab.compare.plan import Arm, Plan
from zoo.lab.compare.request import MAX_JOBS, NOISE_SEEDS, Budget, Request
from zoo.lab.compare.speed import measure_step_seconds
from zoo.lab.match import match
from zoo.lab.size import Size, measure_size, predicted_positions
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
from zoo.train.settings import Settings

_EVALUATIONS = 8
"""So often at least a run is evaluated, if it has as many steps: a curve needs some points."""

_OF_THE_MACHINE = ("device", "precision", "threads")
"""Settings that the machine decides where nothing was said."""

_ELSEWHERE = {"device": "cpu", "precision": "fp32"}
"""With these a model is measured here whose runs are made on other machines."""


@dataclass(frozen=True)
class _Place:
    """Where the runs are made, and what that means for their settings.

    Attributes:
        jobs: runs at a time; None for as many as there are.
        threads: of a run; None lets each settle it for itself.
        local: whether it is this machine.
    """

    jobs: int | None
    threads: int | None
    local: bool

    def settings(self, request: Request, tier: Tier, pattern: str, data: str) -> Settings:
        """The settings of an arm as this machine can build and measure it."""
        machine = {"threads": self.threads} if self.local else _ELSEWHERE
        return resolve_auto(tier.settings(pattern, data, {**request.settings, **machine}))

    def as_it_runs(self, settings: Settings, request: Request, tier: Tier) -> Settings:
        """The same as its runs take them: elsewhere the machine's part is left open, unless it was asked for."""
        if self.local:
            return settings
        asked = tier.settings(settings.mixer, settings.data, request.settings)
        return settings.model_copy(update={name: getattr(asked, name) for name in _OF_THE_MACHINE})


def make_plan(request: Request) -> Plan:
    """Work a request out: build each model once, measure it, and match it.

    Raises:
        UsageError: a mistake in the request, data that is not available, or a first pattern that cannot be built.
        PluginError: a mixer's or a task's plugin is broken or missing.
    """
    tier = find_tier(request.tier)
    usual = NOISE_SEEDS if request.noise_floor else tier.seeds
    seeds = usual if request.seeds is None else request.seeds
    lrs = tier.lrs if request.lrs is None else request.lrs
    place = _place(request, tier)
    sources = _check_all(request, tier, place)
    arms = [arm for data, source in sources.items() for arm in _arms_of(request, tier, source, data, place)]
    plan = Plan(
        command=request.command,
        tier=tier.name,
        match=request.match,
        seeds=tuple(range(seeds)),
        sweep_seed=seeds,
        lrs=tuple(lrs),
        jobs=place.jobs or 1,
        arms=tuple(arms),
        checksums={data: source.sha256 for data, source in sources.items()},
        plugins={name: origin for arm in arms if arm.settings for name, origin in plugins_of(arm.settings).items()},
        min_effects={**MIN_EFFECT, **request.min_effects},
        paths={data: path for data in request.data if (path := text_path(data)) is not None},
        on=request.on,
        solved=request.solved,
        noise_floor=request.noise_floor,
    )
    return plan if place.jobs else replace(plan, jobs=min(plan.runs, MAX_JOBS) or 1)


def _place(request: Request, tier: Tier) -> _Place:
    """Where the runs are made: on a CPU here one for each core, on a GPU here one after the other."""
    cores = torch.get_num_threads()
    if not create_executor(request.on, jobs=request.jobs or cores).local:
        return _Place(request.jobs, None, local=False)
    device = resolve_auto(tier.settings(request.patterns[0], request.data[0], request.settings)).device
    jobs = request.jobs or (cores if device == "cpu" else 1)
    return _Place(jobs, max(1, cores // jobs), local=True)


def _check_all(request: Request, tier: Tier, place: _Place) -> dict[str, Source]:
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
        resolved = place.settings(request, tier, request.patterns[0], data)
        check_optimizer(resolved)
        sources[data] = source_of(resolved)
    return sources


def _arms_of(request: Request, tier: Tier, source: Source, data: str, place: _Place) -> Iterator[Arm]:
    """The arms of one text or task. One that cannot be built keeps the reason; the first one has to be built."""
    target = None
    for index, pattern in enumerate(request.patterns):
        try:
            settings = place.settings(request, tier, pattern, data)
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
        yield Arm(pattern, data, place.as_it_runs(settings, request, tier), size, ratio)


def _sized(
    request: Request, settings: Settings, source: Source, target: float | None
) -> tuple[Settings, Size, float | None]:
    """The settings at the width that was asked for, or at which the model is as big as the target."""
    build, targets = partial(_build, source), predicted_positions(source, settings.context)
    if target is None or request.match == "none":
        size = measure_size(build(settings), length=settings.context, targets=targets)
        return settings, size, None if request.match == "none" else 1.0
    matched = match(build, settings, quantity=request.match, target=target, length=settings.context, targets=targets)
    return matched.settings, matched.size, matched.ratio


def _build(source: Source, settings: Settings) -> Backbone:
    return model_for(source, settings, get_registry())


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
