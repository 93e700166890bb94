"""State tracking: parity, and the word problems of finite groups."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from zoo import Examples, Task
from zoo.tasks.distances import positions
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.state.groups import GROUPS


class Parity(Task):
    """Parity: bits, and at each the parity of all bits so far.

        1 0 1 1 0        targets: 1 1 0 1 1

    The bits are drawn at random. One bit of memory is enough, and every bit must be able to flip it.

    Options:
        length: bits of a sequence.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: a length below 1.

    Source: Grazzi et al. 2025, "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues",
    arXiv:2411.12537, who train at lengths up to 40 and test up to 256; and Delétang et al. 2023, arXiv:2207.02098, who
    score the last position alone. The slices tell the accuracy by position, counted from 1.
    """

    paper: ClassVar[str] = "Grazzi et al. 2025, arXiv:2411.12537"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99
    vocab_size = 2

    def __init__(
        self, *, length: int = 40, examples: int | None = None, test_lengths: tuple[int, ...] = (80, 160)
    ) -> None:
        check_least(1, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=1)
        self.length, self.train_examples = length, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        inputs = generator.integers(2, size=(examples, length))
        return Examples(inputs, np.cumsum(inputs, axis=1) % 2, slices={"position": positions(examples, length)})


class WordProblem(Task):
    """Word problem of a group: elements of it, and at each the product of all elements so far.

        12354 21345 12354        targets in S5: 12354 21354 21345

    The elements are drawn at random. Z60 adds modulo 60; the elements of S3, S4 and S5 are the permutations of three,
    four and five things, of A5 the even ones of five, written as what 1, 2, … become, and a product does the left one
    first. Z60 and A5 have as many elements, but A5 and S5 are not solvable: their word problem is complete for NC1,
    which circuits of constant depth, and attention with them, are believed not to reach. Those of Z60, S3 and S4 are
    within their reach.

    Options:
        group: Z60, S3, S4, A5 or S5.
        length: elements of a sequence.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an unknown group, or a length below 1.

    Source: Merrill et al. 2024, "The Illusion of State in State-Space Models", arXiv:2404.08819, and Grazzi et al.
    2025, "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues", arXiv:2411.12537. The slices tell the
    accuracy by position, counted from 1.
    """

    paper: ClassVar[str] = "Merrill et al. 2024, arXiv:2404.08819"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        group: Literal["Z60", "S3", "S4", "A5", "S5"] = "S5",
        length: int = 32,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (64, 128),
    ) -> None:
        if group not in GROUPS:
            raise ValueError(f"group={group!r} is not known; there are: {', '.join(GROUPS)}")
        check_least(1, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=1)
        self.group = GROUPS[group]()
        self.length, self.vocab_size, self.train_examples = length, len(self.group.names), examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        inputs = generator.integers(self.vocab_size, size=(examples, length))
        targets = inputs.copy()
        for time in range(1, length):
            targets[:, time] = self.group.product[targets[:, time - 1], inputs[:, time]]
        return Examples(inputs, targets, slices={"position": positions(examples, length)})

    def symbol(self, token: int) -> str:
        """An element: a number of Z60, or what a permutation makes of 123…, e.g. ``21345``."""
        return self.group.names[token]
