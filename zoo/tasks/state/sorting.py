"""Sorting: tokens are said again in ascending order."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.limits import check_least, check_lengths


class Sorting(Task):
    """Sorting: numbers, a separator, and blanks, on which the numbers are to be said in ascending order.

        4 0 7 4 ⟨sort⟩ · · ·        targets, from ⟨sort⟩ on: 0 4 4 7

    The first half is drawn at random, and may hold a number more than once. ⟨sort⟩ and blanks are the second.

    Options:
        length: tokens of a sequence, even.
        vocab: how many tokens there are, ⟨sort⟩ and the blank included, which are the last two.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an odd length, or one below 2; a vocabulary below 4.

    Source: Delétang et al. 2023, "Neural Networks and the Chomsky Hierarchy", arXiv:2207.02098, who call it Bucket
    Sort, with five numbers, strings of up to 40 in training, and up to 500 in the test; here there are more numbers, so
    that fewer can be guessed, and the lengths are scaled down. The slices tell the accuracy by which of the targets it
    is, counted from 1.
    """

    paper: ClassVar[str] = "Delétang et al. 2023, arXiv:2207.02098"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 64,
        vocab: int = 32,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (128,),
    ) -> None:
        check_least(4, vocab=vocab)
        check_least(1, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=2, why="a number, and ⟨sort⟩", even=True)
        self.length, self.vocab_size, self.train_examples = length, vocab, examples
        self.numbers = vocab - 2

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        half = length // 2
        inputs, targets = np.full((examples, length), self.vocab_size - 1), np.full((examples, length), IGNORE)
        inputs[:, :half] = generator.integers(self.numbers, size=(examples, half))
        inputs[:, half] = self.numbers
        targets[:, half:] = np.sort(inputs[:, :half], axis=1)
        which = np.zeros_like(inputs)
        which[:, half:] = np.arange(1, half + 1)
        return Examples(inputs, targets, slices={"answer": which})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """Of the numbers that came, the one nearest to where it would be if they were spread evenly."""
        rows, length = inputs.shape
        half = length // 2
        even = (np.arange(half) + 0.5) * self.numbers / half - 0.5
        guesses = np.zeros_like(inputs)
        for place, wanted in enumerate(even):
            nearest = np.abs(inputs[:, :half] - wanted).argmin(axis=1)
            guesses[:, half + place] = inputs[np.arange(rows), nearest]
        return guesses

    def symbol(self, token: int) -> str:
        """``⟨sort⟩``, ``·`` for the blank, and any other number as it is."""
        return {self.numbers: "⟨sort⟩", self.numbers + 1: "·"}.get(token, str(token))
