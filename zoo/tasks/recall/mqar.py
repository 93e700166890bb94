"""Multi-query associative recall."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import draw_distinct, draw_weighted
from zoo.tasks.limits import check_least, check_lengths

FILLER = 0


class MultiQueryRecall(Task):
    """Multi-query associative recall: keys with their values, and later each key again, to be answered by its value.

        k3 v8 k1 v5 · · k1 · k3 · · ·        targets, under the keys that come again: v5 under k1, v8 under k3

    The keys are drawn without replacement from the lower half of the vocabulary, filler excepted, the values from the
    upper half. The first ``2 * pairs`` tokens are keys and values in turn. The rest is cut into slots of two tokens;
    each key falls into a slot of its own, drawn with a probability in proportion to ``i ** (power - 1)`` for the i-th
    slot, and is the slot's first token. All else is filler, token 0. Only the keys in slots are answered.

    Options:
        pairs: keys, each with a value.
        length: tokens of a sequence, even, at least 4 * pairs.
        vocab: how many tokens there are; more than the longest sequence has.
        random_filler: replace the filler by random tokens of the whole vocabulary. They can be equal to keys and to
            values, also to the key that is asked for; of the original, the library does it by default, and
            the published figure does not.
        power: 1 spreads the queries evenly, less pulls them towards the pairs.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with as many pairs.

    Raises:
        ValueError: an odd length, one below 4 * pairs, or one that the vocabulary does not exceed; a power below 0 or
            above 10.

    Source: Arora et al. 2023, "Zoology: Measuring and Improving Recall in Efficient Language Models",
    arXiv:2312.04927. The slices tell the accuracy by the distance from the query back to its key, in powers of two.
    """

    paper: ClassVar[str] = "Arora et al. 2023, arXiv:2312.04927"
    settings: ClassVar[Mapping[str, Any]] = {
        "layers": 2,
        "heads": 1,
        "channel_mixer": "none",
        "dim": 64,
        "weight_decay": 0.1,
    }
    test_examples = 3000

    def __init__(
        self,
        *,
        pairs: int = 4,
        length: int = 64,
        vocab: int = 8192,
        random_filler: bool = False,
        power: float = 0.01,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, pairs=pairs, examples=examples)
        why = f"{pairs} pairs take {2 * pairs} tokens, and their queries as many"
        self.test_lengths = check_lengths(length, test_lengths, least=4 * pairs, why=why, even=True)
        longest = max(length, *test_lengths, 0)
        if vocab <= longest:
            raise ValueError(f"vocab={vocab} should be more than the {longest} tokens of the longest sequence")
        if not 0 <= power <= 10:
            raise ValueError(f"power={power} should be from 0 to 10; 1 spreads the queries evenly")
        self.pairs, self.length, self.vocab_size, self.train_examples = pairs, length, vocab, examples
        self.random_filler, self.power = random_filler, power

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        half, context = self.vocab_size // 2, 2 * self.pairs
        keys = 1 + draw_distinct(generator, half - 1, rows=examples, count=self.pairs)
        values = half + draw_distinct(generator, self.vocab_size - half, rows=examples, count=self.pairs)
        slots = (length - context) // 2
        weights = np.arange(1, slots + 1) ** (self.power - 1)
        queries = context + 2 * draw_weighted(generator, weights, rows=examples, count=self.pairs)

        inputs = np.full((examples, length), FILLER)
        inputs[:, 0:context:2], inputs[:, 1:context:2] = keys, values
        targets, distance = np.full_like(inputs, IGNORE), np.zeros_like(inputs)
        np.put_along_axis(inputs, queries, keys, axis=1)
        np.put_along_axis(targets, queries, values, axis=1)
        np.put_along_axis(distance, queries, power_of_two(queries - np.arange(0, context, 2)), axis=1)
        if self.random_filler:
            filler = inputs == FILLER
            inputs[filler] = generator.integers(self.vocab_size, size=np.count_nonzero(filler))
        return Examples(inputs, targets, slices={"distance to the key": distance})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The value of one of the pairs, of each in turn, whatever the key."""
        rows, time = inputs.shape
        pair = (np.arange(rows)[:, None] + np.arange(time) // 2) % self.pairs
        return np.take_along_axis(inputs, 2 * pair + 1, axis=1)

    def symbol(self, token: int) -> str:
        """``·`` for the filler, ``k12`` for a key, ``v7`` for a value."""
        if token == FILLER:
            return "·"
        half = self.vocab_size // 2
        return f"k{token}" if token < half else f"v{token - half}"
