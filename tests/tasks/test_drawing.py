"""Drawing without replacement has the law that it says."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.tasks.distances import positions, power_of_two
from zoo.tasks.drawing import choose_one, draw_distinct, draw_weighted
from zoo.tasks.repeats import find_repeats

from .chance import counted, excess


@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 2**32))
def test_distinct_numbers_are_distinct(count, more, seed):
    drawn = draw_distinct(np.random.default_rng(seed), count + more, rows=30, count=count)
    assert drawn.shape == (30, count)
    assert drawn.min() >= 0
    assert drawn.max() < count + more
    assert all(len(set(row)) == count for row in drawn.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("population", [5, 9])  # all are shuffled; repeats are drawn anew
def test_every_ordered_choice_is_equally_likely(population):
    drawn = draw_distinct(np.random.default_rng(0), population, rows=40_000, count=2)
    choices = list(permutations(range(population), 2))
    index = {choice: place for place, choice in enumerate(choices)}
    counts = counted([index[tuple(row)] for row in drawn.tolist()], len(choices))
    assert abs(excess(counts, np.full(len(choices), 1 / len(choices)))) < 4


@pytest.mark.slow
def test_weighted_draws_are_successive_draws_of_what_is_left():
    weights = np.array([5.0, 1.0, 0.5, 2.0])
    drawn = draw_weighted(np.random.default_rng(0), weights, rows=40_000, count=3)
    choices = list(permutations(range(4), 3))
    probabilities, total = [], weights.sum()
    for i, j, k in choices:
        left = total - weights[i]
        probabilities.append(weights[i] / total * weights[j] / left * weights[k] / (left - weights[j]))
    assert sum(probabilities) == pytest.approx(1)
    index = {choice: place for place, choice in enumerate(choices)}
    counts = counted([index[tuple(row)] for row in drawn.tolist()], len(choices))
    assert abs(excess(counts, probabilities)) < 4
    # a draw in proportion to other weights does not pass
    other = draw_weighted(np.random.default_rng(0), weights**0.9, rows=40_000, count=3)
    assert excess(counted([index[tuple(row)] for row in other.tolist()], len(choices)), probabilities) > 10


@pytest.mark.slow
def test_weighted_draws_agree_with_numpy_s_choice():
    weights = np.arange(1, 13) ** (0.01 - 1)
    ours = draw_weighted(np.random.default_rng(1), weights, rows=6000, count=5)
    theirs = np.random.RandomState(2)
    theirs = np.array([theirs.choice(12, size=5, replace=False, p=weights / weights.sum()) for _ in range(6000)])
    for place in range(5):
        first, second = counted(ours[:, place], 12), counted(theirs[:, place], 12)
        # two samples of one law: the difference of the counts has the variance of their sum
        assert ((first - second) ** 2 / (first + second)).sum() < 11 + 4 * 22**0.5
    assert all(len(set(row)) == 5 for row in ours.tolist())


def test_one_of_the_allowed_places():
    allowed = np.tile([True, False, True, True], (30_000, 1))
    counts = counted(choose_one(np.random.default_rng(0), allowed), 4)
    assert counts[1] == 0
    assert abs(excess(counts[[0, 2, 3]], np.full(3, 1 / 3))) < 4
    assert choose_one(np.random.default_rng(0), np.eye(5, dtype=bool)).tolist() == [0, 1, 2, 3, 4]


@given(st.lists(st.lists(st.integers(-2, 3), min_size=6, max_size=6), min_size=1, max_size=5))
def test_repeats_by_hand(rows):
    first, times = find_repeats(np.array(rows))
    assert first.tolist() == [[row.index(entry) for entry in row] for row in rows]
    assert times.tolist() == [[row[:place].count(entry) for place, entry in enumerate(row)] for row in rows]


def test_powers_of_two_and_positions():
    distances = np.array([-3, 0, 1, 2, 3, 4, 7, 8, 1000, 1023, 1024, 2**40])
    assert power_of_two(distances).tolist() == [0, 0, 1, 2, 2, 4, 4, 8, 512, 512, 1024, 2**40]
    assert positions(2, 3).tolist() == [[1, 2, 3], [1, 2, 3]]
