"""Drawing without replacement, for many rows at once."""

import numpy as np

from zoo.tasks.repeats import find_repeats


def draw_distinct(generator: np.random.Generator, population: int, *, rows: int, count: int) -> np.ndarray:
    """Distinct numbers below `population`, ``(rows, count)``; every ordered choice is equally likely.

    Args:
        generator: the source of chance.
        population: from how many is drawn, at least `count`.
        rows, count: how many rows, and how many numbers in each.
    """
    if 4 * count > population:
        everybody = np.tile(np.arange(population), (rows, 1))
        return generator.permuted(everybody, axis=1)[:, :count]
    # For few out of many it is much cheaper to draw what repeats an earlier number anew. No choice gains by that:
    # the rule asks which numbers are equal and never what they are, so it treats all numbers alike.
    drawn = generator.integers(population, size=(rows, count))
    unfinished = np.arange(rows)
    while len(unfinished):
        pending = drawn[unfinished]
        again = find_repeats(pending).times > 0
        pending[again] = generator.integers(population, size=np.count_nonzero(again))
        drawn[unfinished] = pending
        unfinished = unfinished[again.any(axis=1)]
    return drawn


def draw_weighted(generator: np.random.Generator, weights: np.ndarray, *, rows: int, count: int) -> np.ndarray:
    """Distinct indices of `weights`, ``(rows, count)``, in the order of successive draws.

    Each draw takes one of the indices that are left, with a probability in proportion to its weight: the law of
    ``numpy.random.choice(replace=False, p=weights)``.

    Args:
        generator: the source of chance.
        weights: positive, ``(n,)`` with n at least `count`.
        rows, count: how many rows, and how many indices in each.
    """
    # Clocks that ring at exponential times, at rates equal to the weights: the first to ring is i with probability
    # w_i / sum(w), and as they have no memory the rest compete as if they had just started. So the order in which
    # they ring is the order of successive draws (Efraimidis and Spirakis 2006).
    rings = generator.standard_exponential((rows, len(weights))) / weights
    return np.argsort(rings, axis=1)[:, :count]


def choose_one(generator: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """A place in each row of `allowed`, ``(rows, n)`` to ``(rows,)``: each that is True is equally likely.

    Every row has a place that is True.
    """
    return np.where(allowed, generator.random(allowed.shape), -1).argmax(axis=1)
