"""What repeats within a row."""

from typing import NamedTuple

import numpy as np


class Repeats(NamedTuple):
    """For each place of a row, ``(rows, n)`` each."""

    first: np.ndarray
    """The first place of the row that holds the same."""

    times: np.ndarray
    """How many earlier places hold the same."""


def find_repeats(rows: np.ndarray) -> Repeats:
    """Where each entry of a row, ``(rows, n)``, comes first, and how often it has come before."""
    # A stable sort puts equal entries side by side and keeps their order.
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    starts = np.ones(rows.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.arange(rows.shape[1])
    start = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    first, times = np.empty_like(order), np.empty_like(order)
    np.put_along_axis(first, order, np.take_along_axis(order, start, axis=1), axis=1)
    np.put_along_axis(times, order, places - start, axis=1)
    return Repeats(first, times)
