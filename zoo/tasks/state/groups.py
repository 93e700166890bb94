"""Finite groups as tables of products."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import permutations
from typing import NamedTuple

import numpy as np


class Group(NamedTuple):
    """A group whose elements are the numbers from 0 to n; 0 is the identity."""

    names: tuple[str, ...]
    """The elements as they are written."""

    product: np.ndarray
    """The product of each with each, ``(n, n)``: the left factor is the row, and acts first."""


@cache
def z60() -> Group:
    """The numbers from 0 to 59, added modulo 60."""
    numbers = np.arange(60)
    return Group(tuple(map(str, numbers)), (numbers[:, None] + numbers) % 60)


@cache
def symmetric(things: int) -> Group:
    """All permutations of so many things: 6 of three, 24 of four, 120 of five."""
    return _permutation_group(np.array(list(permutations(range(things)))))


@cache
def a5() -> Group:
    """The 60 even permutations of five things."""
    everything = np.array(list(permutations(range(5))))
    inversions = sum(everything[:, i] > everything[:, j] for i in range(5) for j in range(i + 1, 5))
    return _permutation_group(everything[inversions % 2 == 0])


GROUPS: Mapping[str, Callable[[], Group]] = {
    "Z60": z60,
    "S3": partial(symmetric, 3),
    "S4": partial(symmetric, 4),
    "A5": a5,
    "S5": partial(symmetric, 5),
}


def _permutation_group(elements: np.ndarray) -> Group:
    """The group of permutations ``(n, things)``, each as what becomes of 0, 1, …; in the order of a dictionary."""
    things = elements.shape[1]
    digits = things ** np.arange(things - 1, -1, -1)
    left_then_right = np.moveaxis(elements[:, elements], 0, 1)  # (left, right, thing): right[left[thing]]
    product = np.searchsorted(elements @ digits, left_then_right @ digits)
    return Group(tuple("".join(str(thing + 1) for thing in element) for element in elements), product)
