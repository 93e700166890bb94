import math
from itertools import product

import pytest

from zoo.lab.statistics import differences, estimate, holm

# From a printed table of Student's t, two-sided, 95 %.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}


def test_the_interval_of_three_seeds():
    found = estimate([0.8, 0.9, 1.0])  # mean 0.9, standard deviation 0.1
    assert found.mean == pytest.approx(0.9)
    assert (found.high - found.mean, found.mean - found.low) == pytest.approx((T[2] * 0.1 / 3**0.5,) * 2, rel=1e-3)
    assert found.seeds == 3


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_interval_follows_the_table(count):
    values = [float(index) for index in range(count)]
    mean = (count - 1) / 2
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    assert estimate(values).high - mean == pytest.approx(T[count - 1] * spread / math.sqrt(count), rel=1e-3)


def test_one_seed_has_no_interval():
    found = estimate([0.7])
    assert (found.mean, found.low, found.high, found.seeds) == (0.7, None, None, 1)


def test_seeds_that_agree_have_an_interval_without_width():
    found = estimate([0.25, 0.25, 0.25])
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def seeded(*values):
    return dict(enumerate(values))


def test_a_paired_t_test_on_two_seeds():
    # differences 1 and 3: mean 2, standard error 1, so t = 2 on one degree of freedom, where t is Cauchy
    (told,) = differences({"a": seeded(2.0, 4.0), "b": seeded(1.0, 1.0)})
    assert (told.first, told.second, told.mean, told.seeds) == ("a", "b", 2.0, 2)
    assert told.p == pytest.approx(1 - 2 * math.atan(2.0) / math.pi)
    assert told.high - 2 == pytest.approx(T[1], rel=1e-3)
    assert not told.is_told_apart


def test_a_paired_t_test_on_three_seeds():
    # differences 1, 2, 3: t = 2 * sqrt(3), and on two degrees of freedom P(|T| > t) = 1 - t / sqrt(2 + t**2)
    (told,) = differences({"a": seeded(1.0, 2.0, 3.0), "b": seeded(0.0, 0.0, 0.0)})
    t = 2 * 3**0.5
    assert told.p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_what_all_seeds_share_is_not_chance():
    """Seeds differ by more than the mixers do, but in each the same one is ahead."""
    (told,) = differences({"a": seeded(0.1, 0.5, 0.9), "b": seeded(0.05, 0.451, 0.849)})
    assert told.is_told_apart
    assert told.p < 0.001


def test_equal_values_are_not_told_apart_and_a_constant_lead_is():
    same, lead = (
        differences({"a": seeded(0.5, 0.5, 0.5), "b": seeded(other, other, other)})[0] for other in (0.5, 0.25)
    )
    assert (same.mean, same.p, same.is_told_apart) == (0, 1, False)
    assert (lead.mean, lead.is_told_apart) == (0.25, True)


def test_seeds_that_agree_to_the_last_digit_are_no_proof():
    """They are taken to spread by a thousandth: t = 0.001 / (0.001 / sqrt(2)) on one degree of freedom."""
    small, large = (differences({"a": seeded(0.5, 0.5), "b": seeded(other, other)})[0] for other in (0.499, 0.4))
    assert small.p == pytest.approx(1 - 2 * math.atan(2**0.5) / math.pi)
    assert small.high - small.mean == pytest.approx(T[1] * 0.001 / 2**0.5, rel=1e-3)
    assert not small.is_told_apart
    assert 0.001 < large.p < 0.05


def test_only_seeds_that_both_have_are_compared():
    (told,) = differences({"a": {0: 1.0, 2: 3.0, 3: 9.0}, "b": {0: 0.0, 1: 7.0, 2: 0.0}})
    assert (told.mean, told.seeds) == (2.0, 2)


def test_one_common_seed_gives_no_p_and_none_gives_nothing():
    (told,) = differences({"a": {0: 1.0, 1: 2.0}, "b": {1: 0.5}})
    assert (told.mean, told.p, told.low, told.is_told_apart) == (1.5, None, None, False)
    assert differences({"a": {0: 1.0}, "b": {1: 0.5}}) == []
    assert differences({"a": {0: 1.0}}) == []


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
    told = differences(values)
    assert [(d.first, d.second) for d in told] == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = [differences({d.first: values[d.first], d.second: values[d.second]})[0].p for d in told]
    assert [d.p for d in told] == holm(alone)
    assert [d.p for d in told] != alone
