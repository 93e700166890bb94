import math
from itertools import product

import numpy as np
import pytest

from zoo.lab.statistics import Sample, Scores, differences, estimate, holm

# From a printed table of Student's t, two-sided, 95 %.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}


def seeded(*values):
    return Sample(dict(enumerate(values)))


def answers(*rows):
    """Runs with one answer a sequence, right or wrong."""
    scores = {seed: Scores(np.asarray(row, float), np.ones(len(row))) for seed, row in enumerate(rows)}
    return Sample({seed: float(np.mean(row)) for seed, row in enumerate(rows)}, scores)


def test_the_interval_of_three_seeds():
    found = estimate(seeded(0.8, 0.9, 1.0))  # mean 0.9, standard deviation 0.1
    assert found.mean == pytest.approx(0.9)
    assert (found.high - found.mean, found.mean - found.low) == pytest.approx((T[2] * 0.1 / 3**0.5,) * 2, rel=1e-3)
    assert found.seeds == 3


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_interval_follows_the_table(count):
    values = [float(index) for index in range(count)]
    mean = (count - 1) / 2
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    found = estimate(seeded(*values))
    assert found.high - mean == pytest.approx(T[count - 1] * spread / math.sqrt(count), rel=1e-3)


def test_one_seed_has_no_interval():
    found = estimate(seeded(0.7))
    assert (found.mean, found.low, found.high, found.seeds) == (0.7, None, None, 1)


def test_seeds_that_agree_on_an_endless_test_have_an_interval_without_width():
    found = estimate(seeded(0.25, 0.25, 0.25))
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def test_a_finite_test_gives_the_binomial_interval_where_seeds_agree():
    """Three seeds with the same 100 answers, 80 of them right: one run as to chance, with variance p (1 - p) / m."""
    row = [1] * 80 + [0] * 20
    found = estimate(answers(row, row, row))
    assert found.high - found.mean == pytest.approx(1.984 * math.sqrt(0.8 * 0.2 / 99), rel=1e-3)


@pytest.mark.slow
def test_seeds_and_test_both_widen_the_interval():
    rows = [[1] * 6 + [0] * 4, [0] + [1] * 7 + [0] * 2, [1] * 8 + [0] * 2]
    found, over_seeds = estimate(answers(*rows)), estimate(Sample({0: 0.6, 1: 0.7, 2: 0.8}))
    assert found.mean == over_seeds.mean
    by_seed = (np.array(rows) - np.mean(rows, axis=1, keepdims=True)) / 10
    seeds, tests = 0.01 / 3, (by_seed.mean(axis=0) ** 2).sum() * 10 / 9
    both = by_seed.var(axis=0, ddof=1).sum() / 3
    total = max(seeds + tests - both, seeds, tests)
    freedom = total**2 / (seeds**2 / 2 + tests**2 / 9 + both**2 / 18)
    from scipy.stats import t

    assert found.high - found.mean == pytest.approx(t.ppf(0.975, freedom) * math.sqrt(total))


@pytest.mark.slow
def test_luck_that_one_seed_has_with_one_sequence_counts_once():
    """Seeds that answer independently are so many tests: the variance is p (1 - p) over all answers, not twice that."""
    generator = np.random.default_rng(0)
    draws = [generator.random((5, 100)) < 0.7 for _ in range(400)]
    from scipy.stats import t

    halves = [(found := estimate(answers(*rows.astype(float)))).high - found.mean for rows in draws]
    deviation = np.median(halves) / t.ppf(0.975, 4)
    assert deviation == pytest.approx(math.sqrt(0.7 * 0.3 / 500), rel=0.1)


def test_what_is_counted_twice_is_taken_off_no_further_than_to_the_larger_of_both():
    """Seeds that agree in the mean, with different answers: all of their variance is luck with single sequences."""
    rows = [np.roll([1.0] * 5 + [0.0] * 5, shift) for shift in (0, 3, 6)]
    sample = answers(*rows)
    over_tests = (np.mean([scores.residuals for scores in sample.scores.values()], axis=0) ** 2).sum() * 10 / 9
    assert sample.interaction > over_tests
    from scipy.stats import t

    found = estimate(sample)
    assert (found.high - found.mean) / math.sqrt(over_tests) > t.ppf(0.975, 9)


def test_answers_of_one_sequence_count_as_one_draw():
    """Ten sequences of eight answers that are all right or all wrong say no more than ten answers."""
    row = np.array([1.0] * 7 + [0.0] * 3)
    many = Sample(dict.fromkeys(range(3), 0.7), {s: Scores(8 * row, np.full(10, 8.0)) for s in range(3)})
    assert estimate(many) == estimate(answers(row, row, row))


def test_what_was_not_kept_varies_as_much_as_it_can():
    unknown = Sample({0: 0.8, 1: 0.8}, test_variance=0.8 * 0.2 / 100)
    assert estimate(unknown).high - 0.8 == pytest.approx(1.96 * 0.04, rel=1e-3)
    half_known = Sample({0: 0.8, 1: 0.8}, {0: Scores(np.ones(5), np.ones(5))}, 0.8 * 0.2 / 100)
    assert estimate(half_known) == estimate(unknown)


def test_welch_on_three_seeds():
    # means 3 and 1, variances 1 and 0 (taken as 1e-6): t = 2 / sqrt(1 / 3) on two degrees of freedom
    (found,) = differences({"a": seeded(2.0, 3.0, 4.0), "b": seeded(1.0, 1.0, 1.0)})
    assert (found.first, found.second, found.mean, found.seeds) == ("a", "b", 2.0, 3)
    t = 2 * 3**0.5  # and there P(|T| > t) = 1 - t / sqrt(2 + t**2)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-3)
    assert found.high - 2 == pytest.approx(T[2] / 3**0.5, rel=1e-3)


def test_equal_spreads_have_the_degrees_of_freedom_of_both():
    (found,) = differences({"a": seeded(2.0, 3.0, 4.0), "b": seeded(0.0, 1.0, 2.0)})
    assert found.high - 2 == pytest.approx(T[4] * math.sqrt(2 / 3), rel=1e-3)


def test_equal_values_are_not_significant_and_a_constant_lead_is():
    same, lead = (
        differences({"a": seeded(0.5, 0.5, 0.5), "b": seeded(other, other, other)})[0] for other in (0.5, 0.25)
    )
    assert (same.mean, same.p, same.is_significant) == (0, 1, False)
    assert (lead.mean, lead.is_significant) == (0.25, True)


def test_seeds_that_agree_to_the_last_digit_are_no_proof():
    """They are taken to spread by a thousandth: t = 0.001 / sqrt(2 * 0.001 ** 2 / 2) = 1 on two degrees of freedom."""
    small, large = (differences({"a": seeded(0.5, 0.5), "b": seeded(other, other)})[0] for other in (0.499, 0.4))
    assert small.p == pytest.approx(1 - 1 / math.sqrt(3))
    assert large.p < 0.001


def test_what_is_hard_for_both_arms_cancels():
    """The test is hard or easy for both: only the ten sequences on which they differ are chance."""
    hard = [0] * 500
    a = answers(*[[1] * 460 + [0] * 40 + hard] * 3)
    b = answers(*[[1] * 450 + [0] * 50 + hard] * 3)
    together = differences({"a": a, "b": b})[0]
    apart = differences({"a": Sample(a.values, {}, 0.46 * 0.54 / 1000), "b": Sample(b.values, {}, 0.25 / 1000)})[0]
    assert together.is_significant
    assert not apart.is_significant


@pytest.mark.slow
def test_seeds_that_agree_are_not_better_by_what_another_test_would_turn_round():
    """Every seed of an arm makes the same mistakes: their agreement says nothing about other sequences."""
    generator = np.random.default_rng(0)
    told = 0
    for _ in range(400):
        one, other = (generator.random(200) < 0.5 for _ in range(2))
        told += differences({"a": answers(one, one, one), "b": answers(other, other, other)})[0].is_significant
    assert told / 400 < 0.075  # of seeds alone it would be more than 90 %


def test_an_arm_may_lack_seeds():
    (found,) = differences({"a": Sample({0: 1.0, 2: 3.0, 3: 9.0}), "b": Sample({0: 0.0, 1: 7.0})})
    assert (found.mean, found.seeds) == (pytest.approx(13 / 3 - 3.5), 2)


def test_one_seed_gives_no_p_and_one_arm_nothing():
    (found,) = differences({"a": seeded(1.0, 2.0), "b": seeded(0.5)})
    assert (found.mean, found.p, found.low, found.is_significant) == (1.0, None, None, False)
    assert differences({"a": seeded(1.0)}) == []


def test_holm_by_hand():
    # sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, and never below an earlier one
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("ps", list(product([0.004, 0.013, 0.021, 0.3], repeat=3)))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps):
    """As Holm wrote it: the smallest against a third of the level, the next against a half, until one is above."""
    rejected = set()
    for rank, index in enumerate(sorted(range(3), key=lambda index: ps[index])):
        if ps[index] >= 0.05 / (3 - rank):
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(ps)) if p < 0.05} == rejected


def test_all_pairs_share_one_correction():
    values = {"a": seeded(1.0, 2.0, 3.0), "b": seeded(0.0, 0.0, 0.0), "c": seeded(0.5, 0.1, 0.4)}
    found = differences(values)
    assert [(d.first, d.second) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = [differences({d.first: values[d.first], d.second: values[d.second]})[0].p for d in found]
    assert [d.p for d in found] == holm(alone)
    assert [d.p for d in found] != alone
