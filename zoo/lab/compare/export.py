"""The figures of a comparison for machines: as JSON, and as tables."""

import math
from dataclasses import asdict
from typing import Any

from zoo.files.logs import table
from zoo.lab.compare.changed import ChangedPlugin
from zoo.lab.compare.format import format_judgement, verdict
from zoo.lab.compare.plan import Arm, Trial
from zoo.lab.compare.results import ArmResult, DataResult, Results, value_of
from zoo.lab.compare.trial import Outcome


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
                "verdict": verdict(result),
                "guess": result.guess,
                "guess_levels": result.guess_levels,
                "min_effect": result.min_effect,
                "solved": result.solved,
                "arms": [_arm_as_json(arm, result) for arm in result.arms],
                "differences": [
                    {
                        **asdict(judgement.difference),
                        "conclusion": str(judgement.conclusion),
                        "in_words": format_judgement(judgement, result),
                    }
                    for judgement in result.judgements
                ],
            }
            for result in results.data
        ],
        "changed_plugins": [_changed_as_json(plugin) for plugin in results.changed],
        "machines": [asdict(kind) | {"runs": runs, "hosts": hosts} for kind, runs, hosts in results.machines.kinds],
    }


def _changed_as_json(plugin: ChangedPlugin) -> dict[str, Any]:
    runs = [{**asdict(code), "runs": count} for code, count in plugin.runs]
    return {"name": plugin.name, "runs": runs, "resumed": plugin.resumed, "in_words": str(plugin)}


def results_table(results: Results) -> str:
    """A row a run, as CSV."""
    guesses = {result.data: result.guess for result in results.data}
    return table([_row(trial, arm, outcome, guesses[arm.data]) for trial, arm, outcome in _all_runs(results)])


def timings_table(results: Results) -> str:
    """The times of each run, which differ from one comparison to the next, as CSV."""
    names = ("seconds", "tokens_per_second")
    return table(
        [
            {**_names(trial, arm), **{name: getattr(outcome.summary, name) for name in names}}
            for trial, arm, outcome in _all_runs(results)
            if outcome.summary is not None
        ]
    )


def _arm_as_json(result: ArmResult, of_data: DataResult) -> dict[str, Any]:
    arm, metric = result.arm, of_data.metric
    rate, floor = of_data.solve_rate(result), of_data.noise_floor(result)
    return {
        "pattern": arm.pattern,
        "dim": arm.settings.dim if arm.settings is not None else None,
        "channel_mixer": arm.settings.channel_mixer if arm.settings is not None else None,
        "size": asdict(arm.size) if arm.size is not None else None,
        "ratio": arm.ratio,
        "lr": result.lr,
        "sweep": {str(trial.lr): value_of(outcome, metric) for trial, outcome in result.sweep.items()},
        "estimate": asdict(result.estimate) if result.estimate is not None else None,
        "solve_rate": asdict(rate) if rate is not None else None,
        "letters": of_data.letters.get(arm.pattern),
        "noise_floor": asdict(floor) if floor is not None else None,
        "runs": [_run_as_json(trial, outcome) for trial, outcome in result.runs.items()],
        "error": result.error,
    }


def _run_as_json(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    names = ("steps", "train_loss", "validation_loss", "validation_accuracy", "accuracies")
    return {"seed": trial.seed, **_figures(outcome, names), "error": outcome.error}


def _figures(outcome: Outcome, names: tuple[str, ...]) -> dict[str, Any]:
    """Some figures of a run by name; None for what is not finite, and for a run that has none."""
    found = {name: getattr(outcome.summary, name, None) for name in names}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()}


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


def _row(trial: Trial, arm: Arm, outcome: Outcome, guess: float | None) -> dict[str, Any]:
    settings, size = arm.settings, arm.size
    assert settings is not None
    assert size is not None
    figures = _figures(outcome, ("steps", "train_loss", "validation_loss", "validation_accuracy"))
    tokens = settings.model_copy(update={"seed": trial.seed}).tokens(figures["steps"] or 0)
    return {
        **_names(trial, arm),
        "dim": settings.dim,
        "parameters": size.parameters,
        "training_flops_per_token": size.training_flops,
        "state": size.state,
        "steps": figures.pop("steps"),
        "tokens": tokens or None,
        "flops": tokens * size.training_flops or None,
        **figures,
        "guess": guess,
        "error": outcome.error,
    }
