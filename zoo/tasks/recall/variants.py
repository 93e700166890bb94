"""The forms of multi-query associative recall: what a pair is, and how it is asked for."""

from math import isqrt
from typing import NamedTuple

import numpy as np

from zoo.tasks.drawing import draw_distinct
from zoo.tasks.limits import check_least

FILLER = 0


class Pairs(NamedTuple):
    """The pairs of each sequence, before the queries have a place."""

    context: np.ndarray
    """Tokens that give the pairs, ``(b, c)``."""
    queries: np.ndarray
    """Tokens that ask for each pair, ``(b, pairs, w)``."""
    values: np.ndarray
    """What is to be answered, ``(b, pairs)``."""
    places: np.ndarray
    """Where in the context each key was last complete, ``(b, pairs)``."""
    assigned: np.ndarray | None = None
    """How many values each key was given, ``(b, pairs)``; None for one."""


class Plain:
    """A key and its value are two tokens, a query is the key."""

    slot = 2
    """Tokens of the place that a query takes."""
    pair = 2
    """Tokens of the context for each pair."""

    def __init__(self, vocab: int) -> None:
        self.vocab_size, self.half = vocab, vocab // 2

    def check(self, pairs: int) -> None:
        """Refuse so many pairs.

        Raises:
            ValueError: names the option, and what would do.
        """

    def context(self, pairs: int) -> int:
        """Tokens of the context, c."""
        return self.pair * pairs

    def draw(self, generator: np.random.Generator, rows: int, pairs: int) -> Pairs:
        """Keys without replacement from the lower half of the vocabulary, values from the upper."""
        keys = 1 + draw_distinct(generator, self.half - 1, rows=rows, count=pairs)
        values = self.half + draw_distinct(generator, self.vocab_size - self.half, rows=rows, count=pairs)
        return Pairs(_in_turn(keys, values), keys[..., None], values, np.tile(2 * np.arange(pairs), (rows, 1)))

    def some_value(self, inputs: np.ndarray, pairs: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """The value of one of the pairs, of each in turn, ``(b, t)``; so many pairs has each sequence, ``(b, 1)``."""
        return np.take_along_axis(inputs, self.pair * (turn % pairs) + self.pair - 1, axis=1)

    def is_value(self, tokens: np.ndarray) -> np.ndarray:
        """Which tokens are values."""
        return tokens >= self.half

    def symbol(self, token: int) -> str:
        """A key or a value."""
        return f"k{token}" if token < self.half else f"v{token - self.half}"


class Forgetting(Plain):
    """Some of the keys come again in the context, with another value, which is the one to be answered."""

    def __init__(self, vocab: int, updates: int) -> None:
        super().__init__(vocab)
        self.updates = updates

    def check(self, pairs: int) -> None:
        """No more keys are updated than there are."""
        if self.updates > pairs:
            raise ValueError(f"updates={self.updates} should be {pairs} or less with pairs={pairs}")

    def context(self, pairs: int) -> int:
        """Tokens of the pairs and of the updates."""
        return 2 * (pairs + self.updates)

    def draw(self, generator: np.random.Generator, rows: int, pairs: int) -> Pairs:
        """The pairs as ever, then a random choice of the keys in random order, each with any value but its own."""
        first = super().draw(generator, rows, pairs)
        keys, values, updates = first.queries[..., 0], first.values.copy(), self.updates
        which = draw_distinct(generator, pairs, rows=rows, count=updates)
        count = self.vocab_size - self.half
        another = generator.integers(1, count, size=(rows, updates))
        old = np.take_along_axis(values, which, axis=1)
        new = self.half + (old - self.half + another) % count
        np.put_along_axis(values, which, new, axis=1)
        places, assigned = first.places.copy(), np.ones_like(keys)
        np.put_along_axis(places, which, np.tile(2 * (pairs + np.arange(updates)), (rows, 1)), axis=1)
        np.put_along_axis(assigned, which, 2, axis=1)
        context = np.concatenate([first.context, _in_turn(np.take_along_axis(keys, which, axis=1), new)], axis=1)
        return Pairs(context, first.queries, values, places, assigned)

    def some_value(self, inputs: np.ndarray, pairs: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """The value of one of the updates: no key has been given another since."""
        return np.take_along_axis(inputs, 2 * (pairs + turn % self.updates) + 1, axis=1)


class Compositional(Plain):
    """Two keys together have a value; of a square of pairs, each first key comes with each second key."""

    slot = 3
    pair = 3

    def __init__(self, vocab: int) -> None:
        super().__init__(vocab)
        self.third, self.values = vocab // 3, 2 * (vocab // 3)

    def check(self, pairs: int) -> None:
        """The pairs make a square."""
        if isqrt(pairs) ** 2 != pairs:
            raise ValueError(f"pairs={pairs} should be a square number, e.g. {isqrt(pairs) ** 2 or 1}, which is a grid")

    def draw(self, generator: np.random.Generator, rows: int, pairs: int) -> Pairs:
        """First keys, second keys and values from the thirds of the vocabulary; the grid in random order."""
        side = isqrt(pairs)
        first = 1 + draw_distinct(generator, self.third - 1, rows=rows, count=side)
        second = self.third + draw_distinct(generator, self.third, rows=rows, count=side)
        values = self.values + draw_distinct(generator, self.vocab_size - self.values, rows=rows, count=pairs)
        cell = draw_distinct(generator, pairs, rows=rows, count=pairs)
        keys = [np.take_along_axis(*each, axis=1) for each in ((first, cell // side), (second, cell % side))]
        places = np.tile(3 * np.arange(pairs) + 1, (rows, 1))
        return Pairs(_in_turn(*keys, values), np.stack(keys, axis=2), values, places)

    def is_value(self, tokens: np.ndarray) -> np.ndarray:
        """Which tokens are values."""
        return tokens >= self.values

    def symbol(self, token: int) -> str:
        """A first key, a second key, or a value."""
        if token >= self.values:
            return f"v{token - self.values}"
        return f"a{token}" if token < self.third else f"b{token - self.third}"


class Stacked(Plain):
    """A key and its value are one token, of a vocabulary of all pairs; a query is a token of the key alone."""

    slot = 1
    pair = 1

    def __init__(self, vocab: int) -> None:
        check_least(4, vocab=vocab)
        self.count = isqrt(vocab) - 1
        super().__init__((self.count + 1) ** 2)
        self.first_pair = 1 + 2 * self.count

    def check(self, pairs: int) -> None:
        """There are as many keys."""
        if self.count < pairs:
            raise ValueError(
                f"pairs={pairs} should be {self.count} or less: a vocabulary of {self.vocab_size} has so many keys, "
                f"as many values, and a token for each pair of them; or give it {(pairs + 1) ** 2} tokens"
            )

    def draw(self, generator: np.random.Generator, rows: int, pairs: int) -> Pairs:
        """Keys and values without replacement."""
        keys, values = (draw_distinct(generator, self.count, rows=rows, count=pairs) for _ in range(2))
        context = self.first_pair + keys * self.count + values
        places = np.tile(np.arange(pairs), (rows, 1))
        return Pairs(context, 1 + keys[..., None], 1 + self.count + values, places)

    def some_value(self, inputs: np.ndarray, pairs: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """The value in one of the pairs."""
        stacked = np.take_along_axis(inputs, turn % pairs, axis=1)
        return 1 + self.count + (stacked - self.first_pair) % self.count

    def symbol(self, token: int) -> str:
        """A key, a value, or both, as ``k3v7``."""
        if token >= self.first_pair:
            key, value = divmod(token - self.first_pair, self.count)
            return f"k{key + 1}v{value}"
        return f"k{token}" if token <= self.count else f"v{token - self.count - 1}"


def _in_turn(*parts: np.ndarray) -> np.ndarray:
    """The first of each, ``(b, n)``, then the second of each, and so on."""
    rows, count = parts[0].shape
    return np.stack(parts, axis=2).reshape(rows, len(parts) * count)
