"""Distances and positions as slices of the accuracy."""

import numpy as np


def power_of_two(distance: np.ndarray) -> np.ndarray:
    """The largest power of two that is not above the distance; 0 for a distance below 1."""
    exponent = np.frexp(np.maximum(distance, 1))[1].astype(np.int64) - 1
    return np.where(distance < 1, 0, np.int64(1) << exponent)


def positions(examples: int, length: int) -> np.ndarray:
    """The position of every token, counted from 1, ``(b, t)``."""
    return np.tile(np.arange(1, length + 1), (examples, 1))
