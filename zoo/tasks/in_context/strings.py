"""What copying and look-up share: strings of letters, and how they are written."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from zoo import IGNORE, Task
from zoo.tasks.limits import check_least

BEGIN, MARK, END, FILLER = range(4)
"""The special tokens, counted from the number of letters."""


class StringTask(Task):
    """Letters, with $, |, . and filler behind them."""

    paper: ClassVar[str] = "Jelassi et al. 2024, arXiv:2402.01032"
    suite: ClassVar[str | tuple[str, ...]] = ("recall", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def _set_letters(self, letters: int) -> None:
        check_least(2, letters=letters)
        if letters > 26:
            raise ValueError(f"letters={letters} should be 26 or fewer")
        self.letters, self.vocab_size = letters, letters + 4

    def symbol(self, token: int) -> str:
        """A letter; ``$`` at the beginning, ``|`` before a string or an answer, ``.`` at the end, ``·`` for filler."""
        return chr(ord("a") + token) if token < self.letters else "$|.·"[token - self.letters]


class Written(NamedTuple):
    """Sequences, ``(b, t)`` each."""

    inputs: np.ndarray
    targets: np.ndarray
    place: np.ndarray
    """At positions where a letter of the answer is asked for, its place in the answer, counted from 0; -1 elsewhere."""


def write(letters: int, length: int, parts: list[tuple[np.ndarray, np.ndarray]], answer: np.ndarray) -> Written:
    """Write $, parts with a | between two, and a dot.

    Args:
        letters: how many there are.
        length: of the sequences, t.
        parts: letters, ``(b, n)``, and how many of them count, ``(b,)``.
        answer: how many letters of the last part are asked for, ``(b,)``.
    """
    rows = np.arange(len(answer))
    inputs, end = np.full((len(rows), length), letters + FILLER), np.zeros_like(answer)
    inputs[:, 0] = letters + BEGIN
    for string, size in parts:
        row, place = np.nonzero(np.arange(string.shape[1]) < size[:, None])
        inputs[row, 1 + end[row] + place] = string[row, place]
        end = end + size + 1
        inputs[rows, end] = letters + MARK
    inputs[rows, end] = letters + END
    # A letter is asked for at the position before it.
    place = np.arange(length) + 1 - (end - answer)[:, None]
    asked = (place >= 0) & (place < answer[:, None])
    targets = np.full_like(inputs, IGNORE)
    targets[:, :-1] = np.where((asked | (place == answer[:, None]))[:, :-1], inputs[:, 1:], IGNORE)
    return Written(inputs, targets, np.where(asked, place, -1))
