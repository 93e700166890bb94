"""Delayed copy."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import positions
from zoo.tasks.limits import check_least, check_lengths


class DelayedCopy(Task):
    """Delayed copy: an echo of the token that came exactly so many steps ago, at every position that has one.

        5 0 3 9 1        with delay=2, targets from the third on: 5 0 3
        ⟨2⟩ 5 0 3 9 1    with named=true, likewise from the fourth on: 5 0 3

    The tokens are drawn at random. With named=true the first token of a sequence names its delay, which is drawn evenly
    from 1 to `delay`, and is no part of the echo: the names are tokens of their own, behind the others.

    Options:
        length: tokens of a sequence, the name included.
        vocab: how many tokens there are to echo; named=true adds `delay` names to them.
        delay: how many steps ago; with named=true the most.
        named: draw the delay of each sequence, and name it.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: a delay below 1, a length that is too short for an echo, or a vocabulary below 2.

    Source: unpublished in this form: the copying problem of Hochreiter & Schmidhuber 1997 and Arjovsky et al. 2016,
    arXiv:1511.06464, made a running echo. The slices tell the accuracy by position, counted from 1, and by the delay
    where it is named.
    """

    paper: ClassVar[str] = "unpublished"
    suite: ClassVar[str] = "recall"
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 1, "channel_mixer": "none"}

    def __init__(
        self,
        *,
        length: int = 64,
        vocab: int = 16,
        delay: int = 8,
        named: bool = False,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, delay=delay, examples=examples)
        check_least(2, vocab=vocab)
        why = f"a delay of {delay} and a token to echo" + (", behind the name of the delay" if named else "")
        self.test_lengths = check_lengths(length, test_lengths, least=delay + 1 + named, why=why)
        self.length, self.vocab_size, self.train_examples = length, vocab + delay * named, examples
        self.vocab, self.delay, self.named = vocab, delay, named

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        inputs = generator.integers(self.vocab, size=(examples, length))
        delay = np.full((examples, 1), self.delay)
        slices = {"position": positions(examples, length)}
        if self.named:
            delay = generator.integers(1, self.delay + 1, size=(examples, 1))
            inputs[:, :1] = self.vocab + delay - 1
            slices["delay"] = delay[:, 0]
        source = np.arange(length) - delay
        echo = np.take_along_axis(inputs, np.maximum(source, 0), axis=1)
        return Examples(inputs, np.where(source >= int(self.named), echo, IGNORE), slices=slices)

    def symbol(self, token: int) -> str:
        """``⟨3⟩`` for the name of a delay of 3, and the number of any other token."""
        return f"⟨{token - self.vocab + 1}⟩" if token >= self.vocab else str(token)
