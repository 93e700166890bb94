"""What a few seeds and a finite test say: a mean and its interval, and whether two arms differ by more than chance.

Chance has two sources. Seeds differ, and the test is a sample: other sequences would have given other scores. Both
enter every interval and every p-value. The second is estimated from the scores of single sequences, so that answers
within a sequence need not be independent, and two arms are compared on the same sequences, so that what is hard for
both cancels. Luck that one seed has with one sequence shows in both, and is counted once: the variance of a mean over
two crossed random factors is (Searle, Casella, McCulloch 1992) that over the one, plus that over the other, less that
of their interaction.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of the intervals."""

LEVEL = 0.035
"""Below it, after correction, a difference is called one. It is less than the 5 % that are promised: accuracies have
bounds and seeds are few, for which the t distribution is only roughly right. tests/benchmarks/verdicts.py measures how
often identical arms are called different."""

SPREAD_FLOOR = 1e-3
"""The least standard deviation that seeds are taken to have, a tenth of a point or a thousandth of a nat: a few of them
may agree to the last digit by chance."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """What one run scored on each sequence of the test.

    Attributes:
        sums: correct predictions, or nats, ``(m,)``.
        counts: the predictions or targets that these are sums over, ``(m,)``.
    """

    sums: Numbers
    counts: Numbers

    @property
    def residuals(self) -> Numbers:
        """How far each sequence pulls the mean from where it is, ``(m,)``; their squares add up to its variance."""
        total = self.counts.sum()
        return (self.sums - self.sums.sum() / total * self.counts) / total


@dataclass(frozen=True, eq=False)
class Sample:
    """What the runs of one arm scored.

    Attributes:
        values: the metric by seed.
        scores: the same sequence by sequence, by seed; empty where it was not kept.
        test_variance: of one run's metric, over tests of this size; used where `scores` lacks a seed.
    """

    values: Mapping[int, float]
    scores: Mapping[int, Scores] = field(default_factory=dict)
    test_variance: float = 0.0

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values.values())

    @property
    def residuals(self) -> Numbers | None:
        """Those of `Scores`, averaged over the seeds; None where they were not kept, or the tests are not the same."""
        by_seed = self._residuals_by_seed
        return None if by_seed is None else np.asarray(by_seed.mean(axis=0))

    @property
    def interaction(self) -> float:
        """The variance of the mean by what single seeds make of single sequences, which is in both other variances."""
        by_seed = self._residuals_by_seed
        if by_seed is None or len(by_seed) < 2:
            return 0.0
        return float(by_seed.var(axis=0, ddof=1).sum()) / len(by_seed)

    @property
    def _residuals_by_seed(self) -> Numbers | None:
        kept = [self.scores[seed].residuals for seed in self.values if seed in self.scores]
        if len(kept) < len(self.values) or len({residuals.shape for residuals in kept}) != 1:
            return None
        return np.stack(kept)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and the interval that holds the true one with 95 % confidence.

    Attributes:
        low, high: None with fewer than two seeds.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Difference:
    """By how much the mean of a first arm lies above that of a second one.

    Attributes:
        first, second: names.
        mean: of the first less that of the second; `low` and `high` are its interval, None with fewer than two seeds.
        p: corrected for the number of pairs (Holm 1979); None with fewer than two seeds.
        seeds: of the arm that has fewer.
    """

    first: str
    second: str
    mean: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int

    @property
    def is_significant(self) -> bool:
        """Whether it is larger than what chance gives."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class _Variance:
    """A variance that was estimated, with its degrees of freedom; negative where others counted it twice."""

    value: float
    freedom: float


def estimate(sample: Sample) -> Estimate:
    """The mean over the seeds, at least one, and its interval."""
    seeds = len(sample.values)
    if seeds < 2:
        return Estimate(sample.mean, None, None, seeds)
    reach = _reach([_over_seeds(sample, floor=0.0), *_over_tests(sample)])
    return Estimate(sample.mean, sample.mean - reach, sample.mean + reach, seeds)


def differences(samples: Mapping[str, Sample]) -> list[Difference]:
    """Every pair of arms compared by Welch's t-test, with one correction for all.

    Args:
        samples: by the name of the arm; each has a value.
    """
    pairs = [_difference(first, second, samples) for first, second in combinations(samples, 2)]
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    return [pair if pair.p is None else replace(pair, p=next(corrected)) for pair in pairs]


def half_width(variance_of_mean: float) -> float:
    """Half the width of the interval of a mean whose variance is known."""
    return _reach([_Variance(variance_of_mean, math.inf)])


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that all of them together are wrong as seldom as one alone.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, ps[index] * (len(ps) - rank)))
        corrected[index] = highest
    return corrected


def _difference(first: str, second: str, samples: Mapping[str, Sample]) -> Difference:
    one, other = samples[first], samples[second]
    mean, seeds = one.mean - other.mean, min(len(one.values), len(other.values))
    if seeds < 2:
        return Difference(first, second, mean, None, None, None, seeds)
    chance = [_over_seeds(one, floor=SPREAD_FLOOR), _over_seeds(other, floor=SPREAD_FLOOR), *_over_tests(one, other)]
    reach = _reach(chance)
    return Difference(first, second, mean, mean - reach, mean + reach, _p(mean, chance), seeds)


def _over_seeds(sample: Sample, *, floor: float) -> _Variance:
    """Of the mean, since other seeds would have given other values."""
    seeds = len(sample.values)
    return _Variance(max(variance(sample.values.values()), floor**2) / seeds, seeds - 1)


def _over_tests(sample: Sample, other: Sample | None = None) -> list[_Variance]:
    """Of the mean, or of the difference of two means, since another test would have given others.

    What single sequences do not show is taken as independent for two arms, and as the same for all seeds of one arm:
    the most that it can be.
    """
    residuals = [each.residuals for each in (sample, other) if each is not None]
    if any(each is None for each in residuals) or len({len(each) for each in residuals if each is not None}) != 1:
        each_alone = [each.test_variance for each in (sample, other) if each is not None]
        return [_Variance(sum(each_alone), math.inf)]
    known = [each for each in residuals if each is not None]
    difference = known[0] - known[1] if len(known) == 2 else known[0]
    tests = len(difference)
    if tests < 2:
        return []
    over_tests = _Variance(float((difference**2).sum()) * tests / (tests - 1), tests - 1)
    return [over_tests, *(_counted_twice(each, tests) for each in (sample, other) if each is not None)]


def _counted_twice(sample: Sample, tests: int) -> _Variance:
    return _Variance(-sample.interaction, max(len(sample.values) - 1, 1) * (tests - 1))


def _reach(variances: Sequence[_Variance]) -> float:
    """Half the width of the interval."""
    from scipy.special import stdtrit  # scipy.stats has the same of Student's t, and takes ten times as long to import

    total, freedom = _total(variances)
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total) if total else 0.0


def _p(mean: float, variances: Sequence[_Variance]) -> float:
    """How often chance alone gives a mean as far from zero as this one, on either side."""
    from scipy.special import stdtr

    total, freedom = _total(variances)
    return float(2 * stdtr(freedom, -abs(mean) / math.sqrt(total)))


def _total(variances: Sequence[_Variance]) -> tuple[float, float]:
    """The sum, and its degrees of freedom (Satterthwaite 1946)."""
    # no estimate of a sum is below its largest summand
    total = max(sum(each.value for each in variances), *(each.value for each in variances))
    spread = sum(each.value**2 / each.freedom for each in variances)
    return total, total**2 / spread if spread else math.inf
