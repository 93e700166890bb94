"""How many seeds solve a task: a share, and what it says of others.

Accuracies over seeds often have two peaks, of the runs that found the rule and of those that did not, and then their
mean is a value that no run has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.lab.statistics import CONFIDENCE


@dataclass(frozen=True)
class SolveRate:
    """How many of the seeds reached a threshold, and the interval of the share that holds the true one.

    Attributes:
        solved, seeds: how many did, and of how many.
        low, high: of the share of all seeds that there could be, with 95 % confidence.
    """

    solved: int
    seeds: int
    low: float
    high: float


def solve_rate(accuracies: Sequence[float], threshold: float) -> SolveRate:
    """How many accuracies, at least one, are at the threshold or above.

    The interval is exact: it holds the true share in 95 of 100 cases or more, whatever that is.

    Source: Clopper & Pearson 1934, "The use of confidence or fiducial limits".
    """
    from scipy.special import betaincinv

    solved, seeds = sum(accuracy >= threshold for accuracy in accuracies), len(accuracies)
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(solved, seeds - solved + 1, tail)) if solved else 0.0
    high = float(betaincinv(solved + 1, seeds - solved, 1 - tail)) if solved < seeds else 1.0
    return SolveRate(solved, seeds, low, high)
