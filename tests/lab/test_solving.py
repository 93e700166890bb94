"""Solve rates, letters and noise floors, against sums and simulations written another way."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr

from zoo.lab.compare.format import noise_floor_columns
from zoo.lab.letters import letters
from zoo.lab.noise_floor import POWER, noise_floor, smallest_difference
from zoo.lab.solving import solve_rate
from zoo.lab.statistics import LEVEL, Sample, differences


def at_least(solved, seeds, share):
    """How likely so many or more are, each with a probability of `share`."""
    return sum(comb(seeds, k) * share**k * (1 - share) ** (seeds - k) for k in range(solved, seeds + 1))


@pytest.mark.parametrize("seeds", [1, 3, 5, 20])
def test_the_ends_are_where_so_few_and_so_many_have_a_fortieth_each(seeds):
    for solved in range(seeds + 1):
        rate = solve_rate([1.0] * solved + [0.5] * (seeds - solved), 0.99)
        assert (rate.solved, rate.seeds) == (solved, seeds)
        assert rate.low <= solved / seeds <= rate.high
        if solved:
            assert at_least(solved, seeds, rate.low) == pytest.approx(0.025)
        else:
            assert rate.low == 0
        if solved < seeds:
            assert 1 - at_least(solved + 1, seeds, rate.high) == pytest.approx(0.025)
        else:
            assert rate.high == 1


def test_the_threshold_itself_solves():
    assert solve_rate([0.99, 0.9899999], 0.99).solved == 1


@given(count=st.integers(1, 7), data=st.data())
def test_two_share_a_letter_exactly_where_they_are_not_apart(count, data):
    names = [f"arm {number}" for number in range(count)]
    pairs = [*combinations(names, 2)]
    apart = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    found = letters(names, apart)
    assert list(found) == names
    for first, second in combinations(names, 2):
        assert bool(set(found[first]) & set(found[second])) == ((first, second) not in apart)
    assert found[names[0]][0] == "a"
    groups = [{name for name in names if letter in found[name]} for letter in set("".join(found.values()))]
    assert not any(group < other for group in groups for other in groups)  # or its letter would say nothing


def test_no_letter_is_superfluous():
    assert letters(["x", "y", "z"], []) == {"x": "a", "y": "a", "z": "a"}
    assert letters(["x", "y", "z"], [("x", "z")]) == {"x": "a", "y": "ab", "z": "b"}
    assert letters(["x", "y", "z"], [("z", "x"), ("y", "z"), ("x", "y")]) == {"x": "a", "y": "b", "z": "c"}


def test_the_spread_and_its_interval():
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        floor = noise_floor(generator.normal(0.5, 0.1, size=8).tolist())
        inside += floor.low <= 0.1 <= floor.high
        assert floor.low < floor.spread < floor.high
        assert floor.lowest < floor.mean < floor.highest
        assert floor.seeds == 8
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.parametrize("seeds", [3, 10])
def test_four_in_five_comparisons_find_the_smallest_difference(seeds):
    """By the test that `compare` makes, on arms that differ by just so much."""
    generator, shift = np.random.default_rng(1), smallest_difference(0.1, seeds)
    found = 0
    for _ in range(2000):
        arms = {"a": generator.normal(0.5, 0.1, seeds), "b": generator.normal(0.5 + shift, 0.1, seeds)}
        samples = {name: Sample(dict(enumerate(values.tolist()))) for name, values in arms.items()}
        (difference,) = differences(samples)
        assert difference.is_significant == (difference.p < LEVEL)
        found += difference.is_significant
    assert 0.77 <= found / 2000 <= 0.83
    assert smallest_difference(0.2, seeds) == pytest.approx(2 * shift)


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_the_power_is_that_of_many_comparisons(seeds):
    """Welch's test on 200,000 pairs of arms at once, each with its own degrees of freedom."""
    first, second = np.random.default_rng(2).normal(size=(2, 200_000, seeds))
    variances = np.stack([arm.var(axis=1, ddof=1) / seeds for arm in (first + smallest_difference(1.0, seeds), second)])
    freedom = (seeds - 1) * variances.sum(0) ** 2 / (variances**2).sum(0)
    t = (first.mean(1) + smallest_difference(1.0, seeds) - second.mean(1)) / np.sqrt(variances.sum(0))
    assert np.mean(2 * stdtr(freedom, -abs(t)) < LEVEL) == pytest.approx(POWER, abs=0.004)


def test_the_heads_name_the_units_of_all_rows():
    assert noise_floor_columns(["accuracy"])[1] == "spread (points)"
    assert noise_floor_columns(["loss", "accuracy", "loss"])[1] == "spread (points or nats)"
