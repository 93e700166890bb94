"""Languages of random automata, learned in context."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.drawing import draw_distinct
from zoo.tasks.limits import check_least, check_lengths

TEST_SHARE = 8
"""One language in so many is for the test, and never for training."""

CHUNK = 4096
"""Automata that are drawn at once, to bound the memory."""

ROUNDS = 64
"""The most symbols of a string by which languages are compared; enough for automata of 32 states, see `languages`."""

# Odd constants of SplitMix64 (Steele, Lea & Flood 2014).
GAMMA, FIRST, SECOND = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class RandomAutomata(Task):
    """Languages of random automata: strings of a language of its own, of which each next symbol is to be predicted.

        a f d a | a b c | f d a f …        accepted under the second |: a or f, for a string begins with one of them

    Every sequence has an automaton of its own. Its states number from ``edges + 1`` to `states`, and its symbols, any
    of those that there are, from ``edges + 1`` to `letters`. A state has up to `edges` edges, with different symbols
    and to different other states. All these numbers are drawn evenly. A string starts in the first state and follows up
    to `string_length` edges, at each state any of them with the same probability. Up to `strings` of such strings, half
    as many at least, are separated by |, and cut at the length; filler follows where they end before. The model learns
    to say the next symbol. What the state allows is correct: the accuracy accepts each symbol that has an edge. | is no
    target, since it tells nothing of the automaton. What the first strings do not show cannot be known, so no model
    reaches 100 %.

    A language is for the test or for training, by a hash of its strings, whichever automaton accepts it.

    Options:
        length: tokens of a sequence.
        states: the most states of an automaton.
        letters: how many symbols there are; an automaton uses some of them.
        edges: the most edges of a state.
        strings: the most strings of a sequence.
        string_length: the most symbols of a string.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with strings as many and as long.

    Raises:
        ValueError: a length or a number of strings below 3, fewer than 2 edges, or states or letters that are not more
            than the edges.

    Source: Akyürek et al. 2024, "In-Context Language Learning: Architectures and Algorithms" (RegBench),
    arXiv:2401.12973, with 12 states, 18 letters, strings of up to 49 symbols and a length of 512; here they are scaled
    down, and the last token is an input without a target. There equivalent states are merged; this changes no string,
    and the split is by language all the same. The slices tell the accuracy by the number of the string in the sequence.
    """

    paper: ClassVar[str] = "Akyürek et al. 2024, arXiv:2401.12973"
    suite: ClassVar[str | tuple[str, ...]] = ("in-context",)
    aliases: ClassVar[tuple[str, ...]] = ("regbench",)
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.88

    def __init__(
        self,
        *,
        length: int = 128,
        states: int = 8,
        letters: int = 18,
        edges: int = 3,
        strings: int = 19,
        string_length: int = 12,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, string_length=string_length, examples=examples)
        check_least(2, edges=edges)
        check_least(3, strings=strings)
        for name, count in {"states": states, "letters": letters}.items():
            if count <= edges:
                raise ValueError(f"{name}={count} should be {edges + 1} or more: a state has up to edges={edges} edges")
        self.test_lengths = check_lengths(length, test_lengths, least=3, why="two strings of a symbol and | between")
        self.length, self.vocab_size, self.train_examples = length, letters + 2, examples
        self.states, self.letters, self.edges = states, letters, edges
        self.strings, self.string_length = strings, string_length
        self.separator, self.filler = letters, letters + 1

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test are of other languages than those of training."""
        automata = self._draw_languages(generator, examples, test=test)
        symbol, separator = self._draw_layout(generator, examples, length)
        inputs, after = _walk(automata, separator, generator.random(symbol.shape))
        inputs = np.where(symbol, inputs, np.where(separator, self.separator, self.filler))
        targets, number = np.full_like(inputs, IGNORE), np.zeros_like(inputs)
        targets[:, :-1] = np.where(symbol[:, 1:], inputs[:, 1:], IGNORE)
        asked = targets != IGNORE
        number[asked] = (1 + np.cumsum(separator, axis=1))[asked]
        accepted = _allowed(automata, self.vocab_size)[np.arange(examples)[:, None], after] & asked[..., None]
        return Examples(inputs, targets, slices={"string": number}, accepted=accepted)

    def _draw_layout(self, generator: np.random.Generator, examples: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Where symbols stand, and where separators between two strings do, ``(b, t)`` each, bool."""
        lengths = generator.integers(1, self.string_length + 1, size=(examples, self.strings))
        last = generator.integers((self.strings + 1) // 2, self.strings + 1, size=(examples, 1)) - 1
        ends = np.cumsum(lengths + 1, axis=1) - 1
        separator = np.zeros((examples, length), dtype=bool)
        row, string = np.nonzero((np.arange(self.strings) < last) & (ends < length))
        separator[row, ends[row, string]] = True
        return (np.arange(length) < np.take_along_axis(ends, last, axis=1)) & ~separator, separator

    def _draw_languages(self, generator: np.random.Generator, rows: int, *, test: bool) -> "Automata":
        """Automata whose languages are for the test, or those whose languages are not."""
        parts: list[Automata] = []
        have, share = 0, TEST_SHARE if test else TEST_SHARE / (TEST_SHARE - 1)
        while have < rows:
            count = min(CHUNK, int(1.1 * (rows - have) * share) + 8)
            drawn = draw_automata(generator, count, states=self.states, letters=self.letters, edges=self.edges)
            kept = np.flatnonzero((languages(drawn)[:, 0] % np.uint64(TEST_SHARE) == 0) == test)[: rows - have]
            parts.append(Automata(*(array[kept] for array in drawn)))
            have += len(kept)
        return Automata(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def symbol(self, token: int) -> str:
        """A letter, or ``s30`` where there are more than 26 of them; ``|`` between strings, ``·`` for the filler."""
        if token >= self.letters:
            return "|" if token == self.separator else "·"
        return chr(ord("a") + token) if self.letters <= 26 else f"s{token}"


class Automata(NamedTuple):
    """Deterministic automata that start in state 0, with n states, some of which may be out of reach.

    Each edge of a state is as likely as the others.
    """

    symbols: np.ndarray
    """The symbol of each edge, ``(b, n, edges)``."""

    following: np.ndarray
    """The state that it leads to, ``(b, n, edges)``."""

    counts: np.ndarray
    """How many edges each state has, the first so many, ``(b, n)``."""


def draw_automata(generator: np.random.Generator, rows: int, *, states: int, letters: int, edges: int) -> Automata:
    """Automata with `edges` + 1 to `states` states, and as many to `letters` symbols."""
    size = generator.integers(edges + 1, states + 1, size=(rows, 1))
    alphabet_size = generator.integers(edges + 1, letters + 1, size=(rows, 1))
    alphabet = draw_distinct(generator, letters, rows=rows, count=letters)
    counts = generator.integers(1, edges + 1, size=(rows, states))
    symbols = _choose(generator, np.broadcast_to(alphabet_size, counts.shape), edges)
    following = _choose(generator, np.broadcast_to(size - 1, counts.shape), edges)
    following += following >= np.arange(states)[:, None]  # any state but itself
    return Automata(np.take_along_axis(alphabet[:, None], symbols, axis=2), following, counts)


def _choose(generator: np.random.Generator, population: np.ndarray, count: int) -> np.ndarray:
    """Distinct numbers below `population`, ``(b, n)`` to ``(b, n, count)``; every ordered choice is equally likely."""
    chosen = np.empty((*population.shape, count), dtype=np.int64)
    for number in range(count):
        # It counts those that are left, so it moves up by one for each smaller one that is gone.
        drawn = (generator.random(population.shape) * (population - number)).astype(np.int64)
        for gone in np.moveaxis(np.sort(chosen[..., :number], axis=2), 2, 0):
            drawn += drawn >= gone
        chosen[..., number] = drawn
    return chosen


def languages(automata: Automata) -> np.ndarray:
    """A number for the strings that each state begins, ``(b, n)``: the same for the same strings, of any automaton.

    Of different strings two numbers are equal by chance alone, one pair in 2 ** 64.
    """
    # Moore's partition refinement, with hashes for classes: two states stay together as long as they have the same
    # symbols, which lead to states that are together. Of two automata with n states, states that 2 n rounds do not
    # part are never parted. A class depends on strings alone, so it means the same in every automaton.
    rows, states = automata.counts.shape
    row = np.arange(rows)[:, None, None]
    symbols = _mixed(GAMMA * (automata.symbols + 1).astype(np.uint64))
    there = np.arange(automata.symbols.shape[2]) < automata.counts[..., None]
    classes = np.zeros((rows, states), dtype=np.uint64)
    for _ in range(min(2 * states, ROUNDS)):
        edges = np.where(there, _mixed(symbols + classes[row, automata.following]), np.uint64(0))
        classes = _mixed(edges.sum(axis=2, dtype=np.uint64))
    return classes


def _walk(automata: Automata, restart: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The symbols of random walks, and the states after them, ``(b, t)`` each.

    Args:
        automata: one for each walk.
        restart: where no symbol is taken and the walk starts again, ``(b, t)``, bool.
        chance: numbers from 0 to 1 that choose the edges, ``(b, t)``.
    """
    row, state = np.arange(len(restart)), np.zeros(len(restart), dtype=np.int64)
    symbols, after = np.empty(restart.shape, dtype=np.int64), np.empty(restart.shape, dtype=np.int64)
    for time in range(restart.shape[1]):
        edge = (chance[:, time] * automata.counts[row, state]).astype(np.int64)
        symbols[:, time] = automata.symbols[row, state, edge]
        state = np.where(restart[:, time], 0, automata.following[row, state, edge])
        after[:, time] = state
    return symbols, after


def _allowed(automata: Automata, vocab: int) -> np.ndarray:
    """Which tokens each state allows, ``(b, n, vocab)``, bool."""
    rows, states, edges = automata.symbols.shape
    row, state, edge = np.nonzero(np.arange(edges) < automata.counts[..., None])
    allowed = np.zeros((rows, states, vocab), dtype=bool)
    allowed[row, state, automata.symbols[row, state, edge]] = True
    return allowed


def _mixed(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * FIRST
    words = (words ^ (words >> np.uint64(27))) * SECOND
    return words ^ (words >> np.uint64(31))
