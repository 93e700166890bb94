"""Sizes and orders, for many rows at once."""

import numpy as np


def draw_sizes(generator: np.random.Generator, most: int, *, rows: int, test: bool) -> np.ndarray:
    """How many words or nodes each example has, ``(rows,)``: from 3 to `most` in training, `most` in the test.

    A size n has the weight ``1 / (n + sqrt(most))``, so that small ones come more often.
    """
    if test:
        return np.full(rows, most)
    sizes = np.arange(3, most + 1)
    weights = 1 / (sizes + most**0.5)
    return generator.choice(sizes, size=rows, p=weights / weights.sum())


def shuffle_allowed(generator: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """The places of each row that are allowed, ``(rows, n)``, in a random order, and behind them the others."""
    return np.argsort(np.where(allowed, generator.random(allowed.shape), 2), axis=1)
