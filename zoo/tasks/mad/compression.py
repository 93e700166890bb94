"""Compression of MAD: a whole sequence in the last position's place of the stream."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zoo import Examples, Task
from zoo.tasks.distances import positions
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.mad import common

if TYPE_CHECKING:
    from torch import nn


class Compression(Task):
    """Compression: an auto-encoder, which has to decode every token of a sequence from its last position alone.

        5 0 3 3 ⟨all⟩        targets: 5 0 3 3 ⟨all⟩, each decoded from the stream at ⟨all⟩

    The tokens are drawn at random; the last is always ⟨all⟩. A decoder takes the stream at ⟨all⟩, adds a code of the
    position that is asked for, and passes the sum through an MLP; it sees nothing else of the stream. The model learns
    to say every token, ⟨all⟩ included; what counts are the tokens that were drawn.

    Options:
        length: tokens of a sequence.
        vocab: how many tokens there are, ⟨all⟩ included, which is the last.
        examples: how many different sequences are trained on; None draws new ones for every step.

    Raises:
        ValueError: a length below 2, or a vocabulary below 3.

    Source: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD), arXiv:2403.17844. Its
    library scores ⟨all⟩ too, and has an unembedding of its own behind the MLP, which a linear layer stands for here,
    since the zoo's unembedding is the embedding. The slices tell the accuracy by position, counted from 1.
    """

    paper: ClassVar[str] = common.PAPER
    suite: ClassVar[str] = common.SUITE
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = common.SETTINGS

    def __init__(self, *, length: int = 32, vocab: int = 16, examples: int | None = common.EXAMPLES) -> None:
        check_least(3, vocab=vocab)
        check_least(1, examples=examples)
        check_lengths(length, (), least=2, why="a token and ⟨all⟩")
        self.length, self.vocab_size, self.train_examples = length, vocab, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        inputs = generator.integers(self.vocab_size - 1, size=(examples, length))
        inputs[:, -1] = self.vocab_size - 1
        scored = np.ones(inputs.shape, dtype=bool)
        scored[:, -1] = False
        return Examples(inputs, inputs.copy(), scored=scored, slices={"position": positions(examples, length)})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """At every position the token that the sequence has most often: which tokens came, and not where."""
        counts = np.zeros((len(inputs), self.vocab_size - 1), dtype=np.int64)
        np.add.at(counts, (np.arange(len(inputs))[:, None], inputs[:, :-1]), 1)
        return np.tile(counts.argmax(axis=1)[:, None], (1, inputs.shape[1]))

    def readout(self, dim: int) -> "nn.Module":
        """A decoder of every position from the last one, ``(b, t, d)`` to ``(b, t, d)``."""
        from zoo.tasks.mad.position_decoder import PositionDecoder

        return PositionDecoder(dim)

    def symbol(self, token: int) -> str:
        """``⟨all⟩``, and the number of any other."""
        return "⟨all⟩" if token == self.vocab_size - 1 else str(token)
