"""How a cost grows with the length."""

from collections.abc import Sequence

import numpy as np

MIN_LENGTHS = 3
"""Lengths that it takes to speak of growth."""


def exponent(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    """The p for which a cost grows as the p-th power of the length, by least squares on the logarithms.

    None with fewer than three lengths, and of a cost that is 0 somewhere.
    """
    return _slope(lengths, costs) if len(lengths) >= MIN_LENGTHS else None


def upper_exponent(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    """The same over the upper half of the lengths, the middle one with them: what is constant flattens short ones."""
    first = len(lengths) // 2
    return _slope(lengths[first:], costs[first:]) if len(lengths) >= MIN_LENGTHS else None


def _slope(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    if min(costs) <= 0:
        return None
    slope, _ = np.polyfit(np.log(lengths), np.log(costs), 1)
    return float(slope)
