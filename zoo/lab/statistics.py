"""What a few seeds say: a mean and its interval, and whether two mixers differ by more than chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev

CONFIDENCE = 0.95
"""Of the intervals."""

LEVEL = 0.05
"""Below it, after correction, a difference is called one."""

RESOLUTION = 1e-3
"""The least spread that differences of seeds are taken to have, a tenth of a point or a thousandth of a nat: a test has
only so many answers, so that a few of them may agree to the last digit, and that is no proof."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and the interval that holds the true one with 95 % confidence (Student's t).

    Attributes:
        low, high: None with fewer than two seeds.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Difference:
    """By how much a first mixer's values lie above a second one's, seed by seed.

    Attributes:
        first, second: names.
        mean: of the differences; `low` and `high` are its interval, None with fewer than two seeds.
        p: of the paired t-test, corrected for the number of pairs (Holm 1979); None with fewer than two seeds.
        seeds: in which both have a value.
    """

    first: str
    second: str
    mean: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int

    @property
    def is_told_apart(self) -> bool:
        """Whether it is larger than what chance gives."""
        return self.p is not None and self.p < LEVEL


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of some values, at least one, and its interval."""
    mean = fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None, len(values))
    reach = _reach(values)
    return Estimate(mean, mean - reach, mean + reach, len(values))


def differences(values: dict[str, dict[int, float]]) -> list[Difference]:
    """Every pair compared on the seeds that both have, with one correction for all.

    Args:
        values: by name and seed.
    """
    pairs = [_difference(first, second, values) for first, second in combinations(values, 2)]
    told = [pair for pair in pairs if pair is not None]
    corrected = iter(holm([pair.p for pair in told if pair.p is not None]))
    return [pair if pair.p is None else replace(pair, p=next(corrected)) for pair in told]


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that all of them together are wrong as seldom as one alone.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, ps[index] * (len(ps) - rank)))
        corrected[index] = highest
    return corrected


def _difference(first: str, second: str, values: dict[str, dict[int, float]]) -> Difference | None:
    both = [seed for seed in values[first] if seed in values[second]]
    if not both:
        return None
    apart = [values[first][seed] - values[second][seed] for seed in both]
    mean = fmean(apart)
    if len(apart) < 2:
        return Difference(first, second, mean, None, None, None, len(apart))
    reach = _reach(apart, at_least=RESOLUTION)
    return Difference(first, second, mean, mean - reach, mean + reach, _p(apart), len(apart))


def _reach(values: Sequence[float], *, at_least: float = 0.0) -> float:
    """Half the width of the interval of a mean, for a standard deviation of so much at least."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * max(stdev(values), at_least) / math.sqrt(len(values))


def _p(apart: Sequence[float]) -> float:
    """How often chance alone gives differences as far from zero as these: paired t-test, two-sided."""
    from scipy.stats import t

    spread = max(stdev(apart), RESOLUTION) / math.sqrt(len(apart))
    return float(2 * t.sf(abs(fmean(apart)) / spread, len(apart) - 1))
