"""Several hops along a cycle."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.depth.draws import draw_sizes, shuffle_allowed
from zoo.tasks.drawing import draw_distinct
from zoo.tasks.limits import check_least, check_lengths

SMALLEST_CYCLE = 3


class Hops(Task):
    """Hops: the edges of a cycle of words in any order, and queries for the word that is k steps behind another.

        w3 w7 w1 w3 w7 w1 ⟨2⟩ w3 w1 ⟨1⟩ w1 w3        answers, under the word that is asked: w1 under w3, w3 under w1

    The cycle has n different words of the vocabulary in a random order. Each of its n edges is a word and the one
    behind it, and the edges are shuffled. Then up to `queries` words of the cycle are asked, each once: ⟨k⟩, with k
    drawn evenly from 1 to `hops`, the word, and its answer, which is the k-th word behind it. N is the largest n that
    the length holds and the vocabulary allows. In training n is drawn from 3 to N with weights ``1 / (n + sqrt(N))``,
    in the test it is N. Filler stands at the end.

    Options:
        length: tokens of a sequence; n words take 2 * n, and each query 3.
        words: how many words there are to draw from.
        hops: the most steps that are asked.
        queries: the most queries of a sequence.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with a cycle as long as they hold.

    Raises:
        ValueError: a length that does not hold three words and their queries, or fewer than three words.

    Source: Allen-Zhu 2025, "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers",
    arXiv:2512.17351, where it is called Depo. There N is 225 to 375, the steps are up to 8, and a word is one or
    more tokens; here N is 16, the steps are up to 4, and a word is one token, so that its answer stands under it
    and not under a token of its own. The slices tell the accuracy by the number of hops.
    """

    paper: ClassVar[str] = "Allen-Zhu 2025, arXiv:2512.17351"
    suite: ClassVar[str] = "depth"
    aliases: ClassVar[tuple[str, ...]] = ("depo",)
    settings: ClassVar[Mapping[str, Any]] = {"layers": 5, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.95

    def __init__(
        self,
        *,
        length: int = 62,
        words: int = 16,
        hops: int = 4,
        queries: int = 10,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(SMALLEST_CYCLE, words=words)
        check_least(1, hops=hops, queries=queries, examples=examples)
        asked = min(SMALLEST_CYCLE, queries)
        why = f"a cycle of {SMALLEST_CYCLE} words takes {2 * SMALLEST_CYCLE} tokens, and each of its queries 3"
        self.test_lengths = check_lengths(length, test_lengths, least=2 * SMALLEST_CYCLE + 3 * asked, why=why)
        self.words, self.hops, self.queries, self.filler = words, hops, queries, words + hops
        self.length, self.vocab_size, self.train_examples = length, words + hops + 1, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test have the longest cycle."""
        most, row = self._longest_cycle(length), np.arange(examples)[:, None]
        size = draw_sizes(generator, most, rows=examples, test=test)[:, None]
        cycle = draw_distinct(generator, self.words, rows=examples, count=most)
        there = np.arange(most) < size
        edge, asked = shuffle_allowed(generator, there), shuffle_allowed(generator, there)[:, : self.queries]
        hops = generator.integers(1, self.hops + 1, size=asked.shape)
        answer = cycle[row, (asked + hops) % size]

        inputs = np.full((examples, length), self.filler)
        for place, words in enumerate((cycle[row, edge], cycle[row, (edge + 1) % size])):
            inputs[:, place : 2 * most : 2] = np.where(there, words, self.filler)
        targets, steps = np.full_like(inputs, IGNORE), np.zeros_like(inputs)
        query = there[:, : asked.shape[1]]
        column = (2 * size + 3 * np.arange(asked.shape[1]))[query]
        row = np.nonzero(query)[0]
        inputs[row, column], inputs[row, column + 1] = self.words + hops[query] - 1, cycle[row, asked[query]]
        inputs[row, column + 2] = targets[row, column + 1] = answer[query]
        steps[row, column + 1] = hops[query]
        return Examples(inputs, targets, slices={"hops": steps})

    def _longest_cycle(self, length: int) -> int:
        """The most words of which a sequence holds the edges and the queries."""
        all_asked = min(length // 5, self.queries)
        return min(self.words, max(all_asked, (length - 3 * self.queries) // 2))

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """A word of the cycle, neither the one that is asked nor one that has answered another word for the same k."""
        row = np.arange(len(inputs))
        is_word, is_query = inputs < self.words, (inputs >= self.words) & (inputs < self.filler)
        present = np.zeros((len(inputs), self.vocab_size), dtype=bool)
        np.put_along_axis(present, inputs, is_word, axis=1)
        spent = np.zeros((len(inputs), self.hops, self.vocab_size), dtype=bool)
        guesses = np.zeros_like(inputs)
        for time in range(1, inputs.shape[1] - 1):
            asks, hops = is_query[:, time - 1], np.clip(inputs[:, time - 1] - self.words, 0, self.hops - 1)
            free = present & ~spent[row, hops]
            free[row, inputs[:, time]] = False
            guesses[:, time] = free.argmax(axis=1)
            spent[row[asks], hops[asks], inputs[asks, time + 1]] = True
        return guesses

    def symbol(self, token: int) -> str:
        """``w3`` for a word, ``⟨2⟩`` for a query of two hops, ``·`` for the filler."""
        if token == self.filler:
            return "·"
        return f"w{token}" if token < self.words else f"⟨{token - self.words + 1}⟩"
