"""Fuzzy recall of MAD: keys and values of several tokens."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.drawing import choose_one, draw_distinct
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.mad import common
from zoo.tasks.repeats import find_repeats


class FuzzyRecall(Task):
    """Fuzzy recall: in-context recall in which a key is several tokens, and so is a value.

        · · k3 k1 v8 k1 v5 v2 v0 k3 k1 v8        the answer that counts: v8 under the last k1

    The last token of the vocabulary is filler, the first half of the others make up keys and the second half values.
    A key is 1 to `key_tokens` different tokens in an order, a value 1 to `value_tokens`: the number is drawn evenly,
    then the tokens. In the test every key has the full number. A sequence is made of such keys, each followed by its
    value, which is the one that it had before if it has been seen; the last key is one of those that came before.
    Filler stands in front of it. The model learns to say the next token at every position, and what
    counts are the tokens of the value after a key that has been seen.

    Options:
        length: tokens of a sequence, at least twice a longest key with a longest value.
        vocab: how many tokens there are, filler included.
        key_tokens: the most tokens of a key.
        value_tokens: the most tokens of a value.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: a length that does not hold two longest pairs, or a vocabulary too small for a longest key or value.

    Source: Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (MAD), arXiv:2403.17844, with
    several queries a sequence, as in its library. There the last key is a pair of its own that is put somewhere into
    the sequence; here it is drawn from all keys that came, so that it always has an answer. There the last token is no
    input; here it is one without a target. The slices tell the accuracy by how often the key has been seen before,
    and by which token of the value it is.
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
        key_tokens: int = 3,
        value_tokens: int = 3,
        examples: int | None = common.EXAMPLES,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, key_tokens=key_tokens, value_tokens=value_tokens, examples=examples)
        self.filler, self.key_vocab = vocab - 1, (vocab - 1) // 2
        self.value_vocab = self.filler - self.key_vocab
        least = 1 + max(2 * key_tokens, 2 * value_tokens - 1, 4)
        if vocab < least:
            raise ValueError(
                f"vocab={vocab} should be {least} or more: half of it, without the filler, gives the different tokens "
                f"of a key (key_tokens={key_tokens}), and half those of a value (value_tokens={value_tokens})"
            )
        most = int(63 / math.log2(self.key_vocab + 1))
        if key_tokens > most:
            raise ValueError(
                f"key_tokens={key_tokens} of {self.key_vocab} tokens make more keys than can be numbered; "
                f"choose {most} or fewer, or a smaller vocab"
            )
        self.longest_pair = key_tokens + value_tokens
        why = f"two pairs of {key_tokens} + {value_tokens} tokens, as long as they come"
        self.test_lengths = check_lengths(length, test_lengths, least=2 * self.longest_pair, why=why)
        self.length, self.vocab_size, self.train_examples = length, vocab, examples
        self.key_tokens, self.value_tokens = key_tokens, value_tokens

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test have keys of the full number of tokens."""
        room, rows = length - self.longest_pair, np.arange(examples)[:, None]
        shortest_key = self.key_tokens if test else 1
        shape = (examples, room // (shortest_key + 1))
        key, key_there = _draw_motifs(generator, shape, self.key_vocab, shortest_key, self.key_tokens)
        value, value_there = _draw_motifs(generator, shape, self.value_vocab, 1, self.value_tokens)

        names = _name(key, key_there, self.key_vocab)
        first = find_repeats(names).first
        tokens = np.concatenate([key, self.key_vocab + value[rows, first]], axis=2)
        there = np.concatenate([key_there, value_there[rows, first]], axis=2)
        fits = np.cumsum(there.sum(axis=2), axis=1) <= room
        # Each pair that is left out has a name of its own, so that it repeats nothing.
        names = np.where(fits, names, -1 - np.arange(shape[1]))
        last = choose_one(generator, (first == np.arange(shape[1])) & fits)[:, None]
        tokens, there, names = (
            np.concatenate([x, x[rows, last]], axis=1) for x in (tokens, there & fits[..., None], names)
        )
        return self._examples(tokens, there, find_repeats(names).times, length)

    def _examples(self, tokens: np.ndarray, there: np.ndarray, times: np.ndarray, length: int) -> Examples:
        """Write the tokens that are there, ``(b, pairs, tokens of a pair)``, one behind the other up to the end.

        `times` says how often the key of each pair has been seen before it, ``(b, pairs)``.
        """
        place = np.arange(self.longest_pair) - self.key_tokens + 1  # in the value, counted from 1
        seen = np.where(place > 0, times[..., None], 0)
        row, _, _ = np.nonzero(there)
        count = there.sum(axis=(1, 2))
        column = length - count[row] + np.arange(len(row)) - (np.cumsum(count) - count)[row]
        inputs = np.full((len(tokens), length), self.filler)
        seen_here, place_here = np.zeros_like(inputs), np.zeros_like(inputs)
        inputs[row, column], seen_here[row, column] = tokens[there], seen[there]
        place_here[row, column] = np.broadcast_to(place, there.shape)[there]
        targets, times_seen, place_asked = np.full_like(inputs, IGNORE), np.zeros_like(inputs), np.zeros_like(inputs)
        # a token is asked for at the position before it
        targets[:, :-1], times_seen[:, :-1] = inputs[:, 1:], seen_here[:, 1:]
        place_asked[:, :-1] = np.where(seen_here > 0, place_here, 0)[:, 1:]
        slices = {"times the key was seen": times_seen, "token of the value": place_asked}
        return Examples(inputs, targets, scored=times_seen > 0, slices=slices)

    def symbol(self, token: int) -> str:
        """``·`` for the filler, ``k3`` and ``v8`` for the tokens of keys and values."""
        if token == self.filler:
            return "·"
        return f"k{token}" if token < self.key_vocab else f"v{token - self.key_vocab}"


def _draw_motifs(
    generator: np.random.Generator, shape: tuple[int, int], vocab: int, shortest: int, longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Different tokens in an order, ``(b, pairs, longest)``, and which of them are there, as many as are drawn evenly.

    The first few of a random order are themselves a random order of so many.
    """
    sizes = generator.integers(shortest, longest + 1, size=shape)
    motifs = draw_distinct(generator, vocab, rows=shape[0] * shape[1], count=longest).reshape(*shape, longest)
    return motifs, np.arange(longest) < sizes[..., None]


def _name(motifs: np.ndarray, there: np.ndarray, vocab: int) -> np.ndarray:
    """One number for each motif, ``(b, pairs, longest)`` to ``(b, pairs)``: different ones for different motifs."""
    digits = np.where(there, motifs + 1, 0)
    return digits @ (vocab + 1) ** np.arange(motifs.shape[2])
