"""Selective copying of MAD."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.mad import common


class SelectiveCopying(Task):
    """Selective copying: tokens with blanks between them, to be said again in their order without the blanks.

        · · 7 · 2 · · · 7 ⟨copy⟩ · · ·        targets: 7 2 7 on the last three blanks

    The tokens to copy are drawn at random. Each of the blanks goes in front of one of them, drawn at random, so the
    last of them comes right before ⟨copy⟩; behind ⟨copy⟩ come as many blanks as there are targets.

    Options:
        length: tokens of a sequence, at least 2 * copy + 2.
        vocab: how many tokens there are, the blank and ⟨copy⟩ included, which are the last two.
        copy: how many tokens are to be copied.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with as many tokens to copy.

    Raises:
        ValueError: a length that leaves no room for a blank, or a vocabulary below 4.

    Source: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD), arXiv:2403.17844; the
    task is from Arjovsky et al. 2016, arXiv:1511.06464, and Gu & Dao 2023, arXiv:2312.00752. The slices tell the
    accuracy by which of the targets it is, counted from 1.
    """

    paper: ClassVar[str] = common.PAPER
    suite: ClassVar[str] = common.SUITE
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = common.SETTINGS

    def __init__(
        self,
        *,
        length: int = 256,
        vocab: int = 16,
        copy: int = 16,
        examples: int | None = common.EXAMPLES,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, copy=copy, examples=examples)
        check_least(4, vocab=vocab)
        why = f"{copy} tokens, a blank, ⟨copy⟩, and room for {copy} targets"
        self.test_lengths = check_lengths(length, test_lengths, least=2 * copy + 2, why=why)
        self.length, self.vocab_size, self.copy, self.train_examples = length, vocab, copy, examples
        self.blank, self.copy_token = vocab - 2, vocab - 1

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        blanks = length - 2 * self.copy - 1
        tokens = generator.integers(self.blank, size=(examples, self.copy))
        gaps = generator.multinomial(blanks, np.full(self.copy, 1 / self.copy), size=examples)
        inputs = np.full((examples, length), self.blank)
        np.put_along_axis(inputs, np.cumsum(gaps, axis=1) + np.arange(self.copy), tokens, axis=1)
        inputs[:, self.copy + blanks] = self.copy_token
        targets = np.full_like(inputs, IGNORE)
        targets[:, -self.copy :] = tokens
        which = np.zeros_like(inputs)
        which[:, -self.copy :] = np.arange(1, self.copy + 1)
        return Examples(inputs, targets, slices={"answer": which})

    def symbol(self, token: int) -> str:
        """``·`` for the blank, ``⟨copy⟩``, and the number of any other."""
        return {self.blank: "·", self.copy_token: "⟨copy⟩"}.get(token, str(token))
