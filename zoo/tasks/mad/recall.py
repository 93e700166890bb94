"""In-context recall of MAD, and the same with noise between the pairs."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.drawing import choose_one
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.mad import common
from zoo.tasks.repeats import find_repeats


class InContextRecall(Task):
    """In-context recall: a stream of keys and values, in which a key that comes again has the value that it had before.

        k3 v8 k1 v5 k3 v8 k6 v5 k1 v5        scored targets: v8 under the second k3, v5 under the second k1

    The first half of the vocabulary are keys, the second half values. Every sequence gives each key a value at random
    (two keys may have the same), and is made of keys drawn at random, each followed by its value; the last key is one
    of those that came before. The model learns to say the next token at every position, and what counts is the value
    after a key that has been seen.

    Options:
        length: tokens of a sequence, even.
        vocab: how many tokens there are.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an odd length, or one below 4, or a vocabulary below 4.

    Source: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD), arXiv:2403.17844, with
    several queries a sequence, as in its library. There the last value is no input; here it is one without a target.
    The slices tell the accuracy by how often the key has been seen before.
    """

    paper: ClassVar[str] = common.PAPER
    suite: ClassVar[tuple[str, ...]] = (common.SUITE, "recall")
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = common.SETTINGS

    def __init__(
        self,
        *,
        length: int = 128,
        vocab: int = 16,
        examples: int | None = common.EXAMPLES,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(4, vocab=vocab)
        check_least(1, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=4, why=_TWO_PAIRS, even=True)
        self.length, self.vocab_size, self.train_examples = length, vocab, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        return _draw(generator, (examples, length // 2), vocab=self.vocab_size)

    def symbol(self, token: int) -> str:
        """``k3`` for a key, ``v8`` for a value."""
        return _symbol(token, self.vocab_size)


class NoisyRecall(Task):
    """Noisy recall: in-context recall with tokens between the pairs that mean nothing.

        k3 v8 n1 n7 k1 v5 k3 v8 n4 n4 k1 v5        scored targets: v8 under the second k3, v5 under the second k1

    A sequence is made like one of in-context recall, but each of its pairs is, with a probability of `noise`, two
    random tokens of a vocabulary of their own instead. The last pair never is, nor is one of the others that is drawn
    for it, so that there is something to recall. The model learns to say the next token at every position, noise
    included, and what counts is the value after a key that has been seen.

    Options:
        length: tokens of a sequence, even.
        vocab: how many tokens there are, noise included.
        noise_vocab: how many of them, the last ones, are noise.
        noise: the probability that a pair is noise.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an odd length, or one below 4, fewer than 4 tokens that are no noise, or a noise below 0 or of 1.

    Source: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD), arXiv:2403.17844, with
    several queries a sequence, as in its library. There the last value is no input; here it is one without a target.
    The slices tell the accuracy by how often the key has been seen before.
    """

    paper: ClassVar[str] = common.PAPER
    suite: ClassVar[tuple[str, ...]] = (common.SUITE, "recall")
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = common.SETTINGS

    def __init__(
        self,
        *,
        length: int = 128,
        vocab: int = 32,
        noise_vocab: int = 16,
        noise: float = 0.2,
        examples: int | None = common.EXAMPLES,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, noise_vocab=noise_vocab, examples=examples)
        if vocab - noise_vocab < 4:
            raise ValueError(
                f"vocab={vocab} should be {noise_vocab + 4} or more: noise_vocab={noise_vocab} of its tokens are noise"
            )
        if not 0 <= noise < 1:
            raise ValueError(f"noise={noise} should be at least 0 and less than 1")
        self.test_lengths = check_lengths(length, test_lengths, least=4, why=_TWO_PAIRS, even=True)
        self.length, self.vocab_size, self.train_examples = length, vocab, examples
        self.meaningful, self.noise = vocab - noise_vocab, noise

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        shape = (examples, length // 2)
        noisy = generator.random(shape) < self.noise
        noisy[np.arange(examples), generator.integers(shape[1] - 1, size=examples)] = False
        noisy[:, -1] = False
        drawn = _draw(generator, shape, vocab=self.meaningful, noisy=noisy)
        noise = np.repeat(noisy, 2, axis=1)
        drawn.inputs[noise] = generator.integers(self.meaningful, self.vocab_size, size=np.count_nonzero(noise))
        drawn.targets[:, :-1] = drawn.inputs[:, 1:]
        return drawn

    def symbol(self, token: int) -> str:
        """``k3`` for a key, ``v8`` for a value, ``n5`` for noise."""
        return f"n{token - self.meaningful}" if token >= self.meaningful else _symbol(token, self.meaningful)


_TWO_PAIRS = "a key and its value, and the key again"


def _draw(
    generator: np.random.Generator, shape: tuple[int, int], *, vocab: int, noisy: np.ndarray | None = None
) -> Examples:
    """Pairs of keys and values, ``(b, pairs)``; what stands in the noisy places is not asked for."""
    examples, pairs = shape
    keys = generator.integers(vocab // 2, size=shape)
    # Each noisy place has a name of its own, so that it repeats nothing.
    names = keys if noisy is None else np.where(noisy, vocab + np.arange(pairs), keys)
    new = find_repeats(names[:, :-1]).times == 0
    last = choose_one(generator, new if noisy is None else new & ~noisy[:, :-1])
    keys[:, -1] = names[:, -1] = keys[np.arange(examples), last]
    times = find_repeats(names).times
    values = generator.integers(vocab // 2, vocab, size=(examples, vocab // 2))
    inputs, seen = np.empty((examples, 2 * pairs), dtype=np.int64), np.zeros((examples, 2 * pairs), dtype=np.int64)
    inputs[:, 0::2], inputs[:, 1::2] = keys, np.take_along_axis(values, keys, axis=1)
    seen[:, 0::2] = times
    targets = np.full_like(inputs, IGNORE)
    targets[:, :-1] = inputs[:, 1:]
    return Examples(inputs, targets, scored=seen > 0, slices={"times the key was seen": seen})


def _symbol(token: int, vocab: int) -> str:
    return f"k{token}" if token < vocab // 2 else f"v{token - vocab // 2}"
