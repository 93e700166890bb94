"""Dyck languages: brackets of several kinds, nested up to a depth."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.limits import check_least, check_lengths


class Dyck(Task):
    """Dyck language: brackets of several kinds that match, and wherever one closes it is asked which.

        (2 (0 0) (1 1) 2) (0 0)        targets: 0) under (0, 1) under (1, 2) under 1), 0) under the last (0

    Each token opens or closes with the probability 1/2; where nothing is open it opens, where `depth` brackets are
    open it closes, and as soon as the open ones need all places that are left, they are closed. A bracket that opens is
    of a kind drawn at random, one that closes is that of the last one open. What closes is asked for one token before,
    where the last one open has to be known: the brackets are a stack.

    Options:
        length: tokens of a sequence, even.
        brackets: how many kinds of brackets there are.
        depth: how many can be open at once.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with as many kinds and as deep.

    Raises:
        ValueError: an odd length, or one below 2; fewer than 2 kinds; a depth below 1.

    Source: Hewitt et al. 2020, "RNNs can generate bounded hierarchical languages with optimal memory",
    arXiv:2010.07515, whose generator opens and closes with the same probabilities; there a model learns every next
    token, here those that are certain. Yao et al. 2021, arXiv:2105.11115, and Sarrof et al. 2024, arXiv:2405.17394,
    have 8 kinds and depth 10, and test sequences longer than those of training; the lengths are scaled down. The slices
    tell the accuracy by the distance from the closing bracket back to the one that it closes, in powers of two (1 where
    it comes right behind it), and by how many are open.
    """

    paper: ClassVar[str] = "Hewitt et al. 2020, arXiv:2010.07515"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 64,
        brackets: int = 8,
        depth: int = 10,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (128,),
    ) -> None:
        check_least(2, brackets=brackets)
        check_least(1, depth=depth, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=2, why="a bracket, and its match", even=True)
        self.length, self.brackets, self.depth, self.train_examples = length, brackets, depth, examples
        self.vocab_size = 2 * brackets

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        row = np.arange(examples)
        opens = generator.random((examples, length)) < 1 / 2
        inputs = generator.integers(self.brackets, size=(examples, length))
        targets, distance, deep = np.full_like(inputs, IGNORE), np.zeros_like(inputs), np.zeros_like(inputs)
        stack, count = np.zeros((examples, self.depth), dtype=np.int64), np.zeros(examples, dtype=np.int64)
        for time in range(length):
            must_close = (count == self.depth) | (count == length - time)
            open_ = (opens[:, time] | (count == 0)) & ~must_close
            closed = row[~open_]
            begin = stack[closed, count[closed] - 1]
            inputs[closed, time] = self.brackets + inputs[closed, begin]
            targets[closed, time - 1] = inputs[closed, time]
            distance[closed, time - 1], deep[closed, time - 1] = time - begin, count[closed]
            stack[row[open_], count[open_]] = time
            count += np.where(open_, 1, -1)
        return Examples(inputs, targets, slices={"distance": power_of_two(distance), "depth": deep})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The bracket that closes the last one that was opened, even if it has been closed since."""
        places = np.where(inputs < self.brackets, np.arange(inputs.shape[1]), 0)
        return self.brackets + np.take_along_axis(inputs, np.maximum.accumulate(places, axis=1), axis=1)

    def symbol(self, token: int) -> str:
        """``(3`` for a bracket that opens, ``3)`` for the one that closes it."""
        return f"({token}" if token < self.brackets else f"{token - self.brackets})"
