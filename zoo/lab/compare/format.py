"""The figures of a comparison, in words and for tables."""

import math
from collections.abc import Iterable
from typing import cast

from zoo.data.source import Metric
from zoo.lab.compare.judge import MIN_SEEDS, Conclusion, Judgement
from zoo.lab.compare.results import ArmResult, DataResult
from zoo.lab.match import LIMITS
from zoo.lab.noise_floor import SEEDS, NoiseFloor
from zoo.lab.sizing import Quantity
from zoo.lab.solving import SolveRate
from zoo.lab.statistics import Estimate

UNITS: dict[Metric, str] = {"accuracy": "points", "loss": "nats"}


def metric_title(metric: Metric, unit: str) -> str:
    """The metric, for an axis or the head of a table.

    Args:
        metric: the one that is shown.
        unit: of the loss.
    """
    return "validation accuracy (%)" if metric == "accuracy" else f"validation loss ({unit})"


def format_value(value: float | None, metric: Metric) -> str:
    """A figure of the metric."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{100 * value:.1f} %" if metric == "accuracy" else f"{value:.3f}"


def format_estimate(estimate: Estimate | None, metric: Metric) -> str:
    """A mean with half the width of its interval: ``99.8 ± 0.3 %``; a wide one of shares as far as there are shares."""
    if estimate is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return format_value(estimate.mean, metric)
    reach = (estimate.high - estimate.low) / 2
    if metric == "accuracy" and reach > 0.5:
        return f"{100 * estimate.mean:.1f} % ({100 * max(estimate.low, 0):.0f} to {100 * min(estimate.high, 1):.0f})"
    if metric == "accuracy":
        return f"{100 * estimate.mean:.1f} ± {100 * reach:.1f} %"
    return f"{estimate.mean:.3f} ± {reach:.3f}"


def format_solve_rate(rate: SolveRate | None) -> str:
    """How many seeds solve a task, with the interval of the share: ``3 of 5 (15 to 95 %)``."""
    if rate is None:
        return "n/a"
    return f"{rate.solved} of {rate.seeds} ({100 * rate.low:.0f} to {100 * rate.high:.0f} %)"


def format_noise_floor(floor: NoiseFloor, metric: Metric) -> list[str]:
    """The cells of a row: mean, spread with its interval, range, and the smallest differences that stand out."""
    spread, low, high = (format_difference(each, metric) for each in (floor.spread, floor.low, floor.high))
    values = [format_value(each, metric).removesuffix(" %") for each in (floor.mean, floor.lowest, floor.highest)]
    differences = [format_difference(each, metric) for each in floor.resolvable.values()]
    return [values[0], f"{spread} ({low} to {high})", f"{values[1]} to {values[2]}", str(floor.seeds), *differences]


def noise_floor_columns(metrics: Iterable[Metric]) -> list[str]:
    """The heads of these cells, of rows with these metrics."""
    unit = " or ".join(sorted({UNITS[metric] for metric in metrics}, reverse=True))
    return ["mean", f"spread ({unit})", "range", "seeds", *(f"resolved by {seeds} seeds ({unit})" for seeds in SEEDS)]


def format_judgement(judgement: Judgement, result: DataResult) -> str:
    """Which of two is better, by how much, and whether chance would do as well."""
    difference, metric = judgement.difference, result.metric
    seeds = _seeds(difference.seeds)
    if difference.mean == 0:
        return f"{_list([difference.first, difference.second])} have the same mean, {seeds}"
    better, worse = _quoted(judgement.better), _quoted(judgement.worse)
    by = f"{format_difference(abs(difference.mean), metric)} {UNITS[metric]}"
    if difference.p is None or difference.low is None or difference.high is None:
        return f"{better} leads {worse} by {by} on one seed, which says nothing about chance"
    sign = 1 if difference.mean >= 0 else -1
    low, high = sorted((sign * difference.low, sign * difference.high))
    interval = f"{by} (95 % interval {format_difference(low, metric)} to {format_difference(high, metric)})"
    tail = f"{interval}, {_p(difference.p)}, {seeds}"
    if judgement.conclusion is Conclusion.TOO_FEW_SEEDS:
        return f"{better} leads {worse} by {tail}: too few seeds for a verdict, which takes {MIN_SEEDS}"
    if judgement.conclusion is Conclusion.GUESSING:
        return f"{better} leads {worse} by {tail}: it is not above guessing by more than chance"
    if judgement.conclusion is Conclusion.INDISTINGUISHABLE:
        return f"{better} and {worse} cannot be distinguished: the first leads the second by {tail}"
    small = ", a small difference" if judgement.conclusion is Conclusion.SMALL else ""
    return f"{better} is better than {worse} by {tail}{small}"


def format_guess(result: DataResult) -> str:
    """What guessing gives, in a sentence, or token frequencies on masked tokens; empty for any other text."""
    if result.unigram_loss is not None:
        return f"These are masked tokens; their unigram loss is {format_value(result.unigram_loss, 'loss')}."
    return "" if result.guess is None else f"Guessing gives {format_value(result.guess, 'accuracy')}."


def verdict(result: DataResult) -> str:
    """The outcome on one text or task, in a sentence."""
    ranked, metric = ranking(result), result.metric
    if not ranked:
        return "No run has a result."
    best = ranked[0]
    unit = f" {result.unit}" if metric == "loss" else ""
    if len(ranked) == 1:
        figure = f"{format_estimate(best.estimate, metric)}{unit}"
        return f"{_quoted(best.arm.pattern)} reached {figure}{_unless_above_guessing(result, ranked)}."
    first = [arm.arm.pattern for arm in ranked if _mean(arm, metric) == _mean(best, metric)]
    others = [arm.arm.pattern for arm in ranked if arm.arm.pattern not in first]
    if not others:
        head = f"All reached {_mean(best, metric)}{unit}"
    elif len(first) > 1:
        head = f"{_list(first)} are ahead with {_mean(best, metric)}{unit}"
    else:
        head = f"{_quoted(first[0])} is ahead with {format_estimate(best.estimate, metric)}{unit}"
    seeds = best.estimate.seeds if best.estimate is not None else 0
    if seeds < 2:
        return f"{head}; one seed says nothing about chance."
    above = _unless_above_guessing(result, ranked)
    if seeds < MIN_SEEDS:
        return f"{head}{above}; {seeds} seeds are too few for a verdict, which takes {MIN_SEEDS}."
    return f"{head}{above or (_ahead_of_whom(result, first, others) if others else '')}."


def _unless_above_guessing(result: DataResult, ranked: list[ArmResult]) -> str:
    """What to add where no arm has learned anything; nothing where one has."""
    if any(result.is_above_guessing(arm) for arm in ranked):
        return ""
    who = "no arm is" if len(ranked) > 1 else "that is not"
    return f", but {who} above guessing ({format_value(result.guess, 'accuracy')}) by more than chance"


def _ahead_of_whom(result: DataResult, first: list[str], others: list[str]) -> str:
    """Of which of the others all of the first are ahead by more than chance, and of which of those by little."""
    significant = {(each.better, each.worse): each.conclusion for each in result.judgements if each.is_significant}
    ahead = [other for other in others if all((best, other) in significant for best in first)]
    small = [other for other in ahead if Conclusion.SMALL in {significant[best, other] for best in first}]
    rest = [other for other in others if other not in ahead]
    by_little = f"by little (less than {format_difference(result.min_effect, result.metric)} {UNITS[result.metric]})"
    if not ahead:
        return ", but ahead of none of the others by more than chance"
    if not rest and not small:
        return ", and ahead of every other by more than chance"
    much = [other for other in ahead if other not in small]
    parts = [f"ahead of {_list(ahead)} by more than chance"]
    if small:
        parts.append(by_little if not much else f"of {_list(small)} {by_little}")
    if rest:
        parts.append(f"not of {_list(rest)}")
    return f"; {', '.join(parts)}"


def ranking(result: DataResult) -> list[ArmResult]:
    """The arms that have a figure, the best first."""
    sign = -1 if result.metric == "accuracy" else 1
    found = [(sign * arm.estimate.mean, arm.index, arm) for arm in result.arms if arm.estimate is not None]
    return [arm for _, _, arm in sorted(found, key=lambda entry: entry[:2])]


def count(value: float | None) -> str:
    """A large number, short: ``33.4k``, ``1.2M``."""
    if value is None:
        return "n/a"
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * factor:  # from there on it is rounded to 1
            return f"{value / factor:.3g}{unit}"
    return f"{value:.0f}"


def format_ratio(ratio: float | None, match: str) -> str:
    """The size of a model over that of the first one, ``1.004``, and by how much it is off where that is a lot."""
    if ratio is None:
        return "n/a"
    limit = LIMITS.get(cast(Quantity, match), 0.0)
    return f"{ratio:.3f}" + (f", off by {abs(ratio - 1):.1%}" if abs(ratio - 1) > limit else "")


def format_lr(lr: float | None) -> str:
    """A learning rate."""
    return "n/a" if lr is None else f"{lr:g}"


def format_difference(value: float, metric: Metric) -> str:
    """A difference in points or nats."""
    return f"{100 * value:z.1f}" if metric == "accuracy" else f"{value:z.3f}"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _seeds(count: int) -> str:
    return f"{count} seeds" if count > 1 else "one seed"


def _mean(arm: ArmResult, metric: Metric) -> str:
    return format_value(arm.estimate.mean if arm.estimate is not None else None, metric)


def _list(patterns: list[str]) -> str:
    names = [_quoted(pattern) for pattern in patterns]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _quoted(pattern: str) -> str:
    """A pattern as it stands in a sentence: in quotes where it has more than one word."""
    return f"'{pattern}'" if " " in pattern else pattern
