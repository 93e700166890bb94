"""Counting: runs of letters, all of a string as long as its first."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.limits import check_least, check_lengths


class Counting(Task):
    """Counting: strings of as many b as a, one behind the other, and it is asked where the b end.

        a a a b b b a b a a b        targets under each b: b b a, a, b; scored are the last two of each run

    The strings are a … a b … b, with as many of each letter, and with a third letter c … c likewise. How many is drawn
    evenly for each string, from 1 to a quarter of the tokens of a sequence for two letters, a sixth for three, and so
    on. The last string is cut off. How many a there are cannot be known, but what follows them can: at each other
    letter the next token is asked for. The last of each run, which the next letter follows, and the one before it count
    for the accuracy: nothing but counting keeps them apart.

    Options:
        length: tokens of a sequence; longer ones have longer runs.
        letters: how many letters a string has, from 2 to 26.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: fewer than 2 letters, or more than 26; a length below the letters.

    Source: Weiss et al. 2018, "On the Practical Computational Power of Finite Precision RNNs for Language Recognition",
    arXiv:1805.04908, who train one string a sequence, with up to 100 of each letter (50 for three letters), and find
    that LSTMs count further, and GRUs do not; here the numbers are scaled down. The slices tell the accuracy by how
    many of each letter the string has, in powers of two.
    """

    paper: ClassVar[str] = "Weiss et al. 2018, arXiv:1805.04908"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 64,
        letters: int = 2,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (128,),
    ) -> None:
        check_least(1, examples=examples)
        if not 2 <= letters <= 26:
            raise ValueError(f"letters={letters} should be from 2 to 26")
        self.test_lengths = check_lengths(length, test_lengths, least=letters, why=f"each of {letters} letters once")
        self.length, self.vocab_size, self.train_examples = length, letters, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        letters = self.vocab_size
        most, strings = max(1, length // (2 * letters)), length // letters + 1
        counts = generator.integers(1, most + 1, size=(examples, strings))
        runs = np.repeat(counts, letters, axis=1)
        ends = np.minimum(np.cumsum(runs, axis=1), length + 1)
        # The run of each token, counted from 0, and one token more than is fed: the target of the last.
        begins = np.zeros((examples, length + 2), dtype=np.int64)
        np.put_along_axis(begins, ends, 1, axis=1)
        run = np.cumsum(begins[:, :-1], axis=1)
        tokens, many = run % letters, np.take_along_axis(runs, run, axis=1)
        left = np.take_along_axis(np.cumsum(runs, axis=1), run, axis=1) - np.arange(length + 1)  # of the run, from here

        inputs = tokens[:, :-1].copy()
        asked = inputs > 0
        targets = np.where(asked, tokens[:, 1:], IGNORE)
        scored = asked & (left[:, :-1] <= 2)
        return Examples(inputs, targets, scored, {"count": np.where(scored, power_of_two(many[:, :-1]), 0)})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The next letter, as if each run ended at once."""
        return (inputs + 1) % self.vocab_size

    def symbol(self, token: int) -> str:
        """The letter."""
        return "abcdefghijklmnopqrstuvwxyz"[token]
