"""Curricula of length: how long the sequences of each training step are."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zoo.data.examples import mixed
from zoo.errors import UsageError

_TEXT = re.compile(
    r"\s*(?P<shortest>\d+)\s*\.\.\s*(?P<middle>\d+)\s*(\.\.\s*(?P<last>\d+)\s*)?(over\s+(?P<steps>\d+)\s*)?"
    r"(by\s+(?P<by>\d+)\s*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Curriculum:
    """How long sequences are, as a pure function of the seed and the step.

        8..64 over 2000          grows from 8 to 64 in 2,000 steps, and stays there
        1..40                    drawn for each step, each length from 1 to 40 equally likely
        3..40..160 over 9000     drawn from 3 up to a longest that grows from 40 to 160 in 9,000 steps
        8..64 over 2000 by 8     the same as the first, in lengths of 8, 16, 24, …

    Attributes:
        shortest: tokens of the shortest sequences.
        first, last: tokens of the longest ones at the beginning, and from step `steps` on.
        steps: in which the longest grow; 0 where they do not.
        by: lengths are `shortest` and a multiple of this.
        drawn: whether a step's length is drawn, or the longest.
    """

    shortest: int
    first: int
    last: int
    steps: int
    by: int
    drawn: bool

    @classmethod
    def read(cls, text: str) -> "Curriculum":
        """The curriculum that a text describes.

        Raises:
            UsageError: it describes none.
        """
        match = _TEXT.fullmatch(text)
        parts = {name: int(value) for name, value in match.groupdict().items() if value} if match else {}
        if not match or ("last" in parts and "steps" not in parts) or max(parts.values()) > 10**9:
            raise UsageError(
                f"`curriculum`={text!r} should read '8..64 over 2000' (from and to so many tokens, over steps), "
                "'1..40' (drawn for each step) or '3..40..160 over 9000' (up to a longest that grows), with ' by 8' "
                "at the end for lengths in steps of 8"
            )
        shortest, middle, steps, by = parts["shortest"], parts["middle"], parts.get("steps", 0), parts.get("by", 1)
        drawn = "last" in parts or "steps" not in parts
        first, last = (middle, parts.get("last", middle)) if drawn else (shortest, middle)
        if not 1 <= shortest <= first <= last or shortest == last or ("steps" in parts and not steps):
            raise UsageError(
                f"`curriculum`={text!r} should go from 1 token or more to more tokens, over 1 step or more"
            )
        if by < 1 or (last - shortest) % by or (first - shortest) % by:
            raise UsageError(f"`curriculum`={text!r} should reach its last length in whole steps of `by` tokens")
        return cls(shortest, first, last, steps, by, drawn)

    def __str__(self) -> str:
        """The text that reads back."""
        middle = f"{self.first}..{self.last}" if self.drawn and self.steps else f"{self.last}"
        over = f" over {self.steps}" if self.steps else ""
        return f"{self.shortest}..{middle}{over}" + (f" by {self.by}" if self.by > 1 else "")

    @cached_property
    def lengths(self) -> range:
        """All lengths that there can be."""
        return range(self.shortest, self.last + 1, self.by)

    def length(self, step: int, seed: int) -> int:
        """Tokens of a sequence of the step that follows so many."""
        return int(self.lengths_of(np.array([step]), seed)[0])

    def lengths_of(self, steps: np.ndarray, seed: int) -> np.ndarray:
        """The same of many steps, ``(n,)``, whole numbers."""
        grown = 1.0 if not self.steps else np.minimum(steps / self.steps, 1.0)
        places = (self.first - self.shortest + grown * (self.last - self.first)) // self.by
        if self.drawn:
            places = np.floor(_uniform(steps, seed) * (places + 1))
        return np.broadcast_to(self.shortest + self.by * places, steps.shape).astype(np.int64)

    def tokens(self, steps: int, seed: int) -> int:
        """Tokens of one sequence a step, over the first steps, all together."""
        return int(self.lengths_of(np.arange(steps), seed).sum())


def canonical_curriculum(text: object) -> str | None:
    """The text in its shortest form, None for none; a command line may have read it as a number.

    Raises:
        UsageError: it describes no curriculum.
    """
    return None if text in (None, "none") else str(Curriculum.read(str(text)))


def _uniform(steps: np.ndarray, seed: int) -> np.ndarray:
    """Numbers from 0 to 1, as if drawn, by seed and step."""
    # seeds are less than 2 ** 31, and steps less than 2 ** 32
    words = (np.array([seed], dtype=np.uint64) << np.uint64(32)) + steps.astype(np.uint64)
    return mixed(mixed(words + np.uint64(1))) / 2.0**64
