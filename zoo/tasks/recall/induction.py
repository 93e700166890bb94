"""Induction heads."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.limits import check_least, check_lengths


class Induction(Task):
    """Induction heads: a special token comes twice, and the second time what followed it the first time is asked for.

        4 0 7 ⟨now⟩ 2 7 7 5 1 ⟨now⟩        the answer, at the end: 2

    The tokens are drawn at random. ⟨now⟩, the last of the vocabulary, stands at a place drawn at random and at the end.
    A model has to find one repeated token and copy what came after it, which two layers of attention do together: the
    first gives every token what came before it.

    Options:
        length: tokens of a sequence.
        vocab: how many tokens there are, ⟨now⟩ included.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: a length below 3, or a vocabulary below 3.

    Source: Olsson et al. 2022, "In-context Learning and Induction Heads", arXiv:2209.11895, in the form of Dao et al.
    2023 (H3, arXiv:2212.14052), which Gu & Dao 2023 (Mamba, arXiv:2312.00752) train at length 256 with a vocabulary of
    16 and test at lengths up to 2 ** 20. The slices tell the accuracy by the distance between the two ⟨now⟩, in powers
    of two.
    """

    paper: ClassVar[str] = "Olsson et al. 2022, arXiv:2209.11895"
    suite: ClassVar[str] = "recall"
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 64, "heads": 1, "channel_mixer": "none"}

    def __init__(
        self,
        *,
        length: int = 64,
        vocab: int = 64,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(3, vocab=vocab)
        check_least(1, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=3, why="⟨now⟩, what follows it, and ⟨now⟩ again")
        self.length, self.vocab_size, self.train_examples = length, vocab, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        row, now = np.arange(examples), self.vocab_size - 1
        inputs = generator.integers(now, size=(examples, length))
        place = generator.integers(length - 2, size=examples)
        inputs[row, place] = inputs[:, -1] = now
        targets = np.full_like(inputs, IGNORE)
        targets[:, -1] = inputs[row, place + 1]
        return Examples(inputs, targets, slices={"distance": power_of_two(length - 1 - place)})

    def symbol(self, token: int) -> str:
        """``⟨now⟩``, and the number of any other."""
        return "⟨now⟩" if token == self.vocab_size - 1 else str(token)
