"""The noise floor of a comparison: how far seeds alone move a figure, and which differences stand out from that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from zoo.lab.statistics import CONFIDENCE, LEVEL

POWER = 0.8
"""A difference counts as resolved if so many of all comparisons would find it."""

SEEDS = (3, 5, 10, 20)
"""For so many seeds an arm the smallest difference is known."""


_SHARES = 40
"""Over so many equally likely shares of one arm in the estimated variance the power is averaged."""


@dataclass(frozen=True)
class NoiseFloor:
    """The spread of one arm over its seeds.

    Attributes:
        mean: of the metric.
        spread: the standard deviation over seeds.
        low, high: the interval of the true one, with 95 % confidence, if seeds spread normally.
        lowest, highest: of the values.
        seeds: how many there are.
        resolvable: the smallest difference between two such arms that four in five comparisons find, by the seeds
            of each arm.
    """

    mean: float
    spread: float
    low: float
    high: float
    lowest: float
    highest: float
    seeds: int
    resolvable: dict[int, float]


def noise_floor(values: Sequence[float]) -> NoiseFloor:
    """The spread of two values or more, and what it hides.

    The interval of the spread is that of a chi-square distribution. A difference is found by the t-test of `compare`
    for one pair of arms: with more pairs, which are corrected for, it has to be larger.
    """
    from scipy.special import chdtri

    seeds, spread = len(values), stdev(values)
    freedom, tail = seeds - 1, (1 - CONFIDENCE) / 2
    low, high = (spread * math.sqrt(freedom / float(chdtri(freedom, part))) for part in (tail, 1 - tail))
    resolvable = {count: smallest_difference(spread, count) for count in SEEDS}
    return NoiseFloor(fmean(values), spread, low, high, min(values), max(values), seeds, resolvable)


def smallest_difference(spread: float, seeds: int) -> float:
    """The difference of two arms of so many seeds, both of that spread, that is found with a probability of `POWER`."""
    low, high = 0.0, 1.0  # in units of the standard deviation of the difference of two means
    while _power(high, seeds) < POWER:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _power(middle, seeds) < POWER else (low, middle)
    return high * spread * math.sqrt(2 / seeds)


def _power(difference: float, seeds: int) -> float:
    """How often Welch's t-test finds a true difference, in standard deviations of the difference of the means.

    Given the share r of one arm in the sum of both estimated variances, its critical value is that of
    ``(n - 1) / (r**2 + (1 - r)**2)`` degrees of freedom. The share is beta distributed and independent of the sum, by
    which the statistic is one of the noncentral t distribution of 2 (n - 1) degrees of freedom.
    """
    from scipy.special import betaincinv, nctdtr, stdtrit

    freedom = seeds - 1
    share = betaincinv(freedom / 2, freedom / 2, (np.arange(_SHARES) + 0.5) / _SHARES)
    critical = stdtrit(freedom / (share**2 + (1 - share) ** 2), 1 - LEVEL / 2)
    missed = nctdtr(2 * freedom, difference, critical) - nctdtr(2 * freedom, difference, -critical)
    return float(1 - missed.mean())
