"""What may be said of two arms: which is better, and whether that is more than chance, and more than a little."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from zoo.data.source import Metric
from zoo.lab.statistics import Difference, Estimate

MIN_EFFECT: Mapping[Metric, float] = {"accuracy": 0.01, "loss": 0.01}
"""Smaller differences are called small: a point of accuracy, a hundredth of a nat."""

MIN_SEEDS = 3
"""With fewer, nothing is called better: the spread of two values says next to nothing about that of others."""


class Conclusion(StrEnum):
    """What a difference shows."""

    BETTER = "better"
    SMALL = "better, by a small difference"
    INDISTINGUISHABLE = "not distinguishable from chance"
    GUESSING = "the better one is not above guessing"
    TOO_FEW_SEEDS = "too few seeds"


@dataclass(frozen=True)
class Judgement:
    """A difference and what it shows.

    Attributes:
        better, worse: the arms in the order of their means, whatever that is worth.
    """

    difference: Difference
    conclusion: Conclusion
    better: str
    worse: str

    @property
    def is_significant(self) -> bool:
        """Whether the better one may be called better, by much or by little."""
        return self.conclusion in (Conclusion.BETTER, Conclusion.SMALL)


def judge(
    differences: Sequence[Difference],
    estimates: Mapping[str, Estimate],
    *,
    metric: Metric,
    guess: float | None,
    min_effect: float,
) -> tuple[Judgement, ...]:
    """Judge every pair of arms.

    Args:
        differences: as `zoo.lab.statistics.differences` gives them.
        estimates: by arm.
        metric: of an accuracy more is better, of a loss less.
        guess: what guessing may reach by chance; None where there is no such thing.
        min_effect: what is less is small, in the units of the metric.
    """
    return tuple(_judge(each, estimates, metric, guess, min_effect) for each in differences)


def is_above_guessing(estimate: Estimate, guess: float | None) -> bool:
    """Whether an accuracy is above what guessing may reach; of a loss, which has no such level, it is not asked."""
    return guess is None or (estimate.low is not None and estimate.low > guess)


def _judge(
    difference: Difference, estimates: Mapping[str, Estimate], metric: Metric, guess: float | None, min_effect: float
) -> Judgement:
    better, worse = difference.first, difference.second
    if (difference.mean >= 0) != (metric == "accuracy"):
        better, worse = worse, better
    if difference.seeds < MIN_SEEDS:
        conclusion = Conclusion.TOO_FEW_SEEDS
    elif not is_above_guessing(estimates[better], guess):
        conclusion = Conclusion.GUESSING
    elif not difference.is_significant:
        conclusion = Conclusion.INDISTINGUISHABLE
    else:
        conclusion = Conclusion.SMALL if abs(difference.mean) < min_effect else Conclusion.BETTER
    return Judgement(difference, conclusion, better, worse)
