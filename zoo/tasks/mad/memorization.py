"""Memorization of MAD: facts that are learned in the weights."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.mad import common


class Memorization(Task):
    """Memorization: a fixed map from keys to values, the same in every sequence, to be learned by heart.

        k3 ⟨insert⟩ k1 ⟨insert⟩ k3 ⟨insert⟩        targets, on every ⟨insert⟩: v8 v5 v8

    The last token is ⟨insert⟩, the first half of the others are keys and the rest values. The map pairs each key with
    a value of its own, at random. A sequence is made of keys drawn at random, each followed by ⟨insert⟩, where the
    value is to be said. Nothing in the sequence gives the value, so the test asks for the same facts as the training.

    Options:
        length: tokens of a sequence, even.
        vocab: how many tokens there are, ⟨insert⟩ included.
        seed: of the map.
        examples: how many different sequences are trained on; None draws new ones for every step.

    Raises:
        ValueError: an odd length, or one below 2, or a vocabulary below 5.

    Source: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD), arXiv:2403.17844. Its
    library trains this task on 256 sequences, unlike its others, and takes the seed of the map from that of the data.
    """

    paper: ClassVar[str] = common.PAPER
    suite: ClassVar[str] = common.SUITE
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = common.SETTINGS
    disjoint: ClassVar[bool] = False

    def __init__(self, *, length: int = 32, vocab: int = 256, seed: int = 0, examples: int | None = 256) -> None:
        check_least(0, seed=seed)
        check_least(1, examples=examples)
        check_least(5, vocab=vocab)
        check_lengths(length, (), least=2, why="keys, each with an ⟨insert⟩", even=True)
        self.length, self.vocab_size, self.train_examples = length, vocab, examples
        self.insert, self.keys = vocab - 1, (vocab - 1) // 2
        values = np.random.default_rng(seed).permutation(np.arange(self.keys, self.insert))
        self.value_of = values[: self.keys]

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        keys = generator.integers(self.keys, size=(examples, length // 2))
        inputs = np.full((examples, length), self.insert)
        inputs[:, 0::2] = keys
        targets = np.full_like(inputs, IGNORE)
        targets[:, 1::2] = self.value_of[keys]
        return Examples(inputs, targets)

    def symbol(self, token: int) -> str:
        """``k3`` for a key, ``v8`` for a value, ``⟨insert⟩``."""
        if token == self.insert:
            return "⟨insert⟩"
        return f"k{token}" if token < self.keys else f"v{token - self.keys}"
