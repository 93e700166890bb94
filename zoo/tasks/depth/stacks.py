"""One stack of numbers a row, for many rows at once."""

import numpy as np


class Stacks:
    """One stack of numbers a row.

    Args:
        rows: how many stacks, b.
        room: the most numbers that one ever holds.
    """

    def __init__(self, rows: int, room: int) -> None:
        self.items = np.zeros((rows, room), dtype=np.int64)
        self.height = np.zeros(rows, dtype=np.int64)

    def push(self, where: np.ndarray, numbers: np.ndarray) -> None:
        """Put a number of ``(b,)`` on top of each stack where ``(b,)`` says so."""
        rows = np.flatnonzero(where)
        self.items[rows, self.height[rows]] = numbers[rows]
        self.height[rows] += 1

    def pop(self, where: np.ndarray) -> np.ndarray:
        """Take the top of each stack where ``(b,)`` says so; ``(b,)``, with 0 elsewhere."""
        rows, numbers = np.flatnonzero(where), np.zeros(len(self.height), dtype=np.int64)
        self.height[rows] -= 1
        numbers[rows] = self.items[rows, self.height[rows]]
        return numbers
