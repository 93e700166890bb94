"""Multi-query associative recall."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import draw_weighted
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.recall.mixture import PLAIN, SQUARES
from zoo.tasks.recall.variants import FILLER, Compositional, Forgetting, Plain, Stacked


class MultiQueryRecall(Task):
    """Multi-query associative recall: keys with their values, and later each key again, to be answered by its value.

        k3 v8 k1 v5 · · k1 · k3 · · ·        targets, under the keys that come again: v5 under k1, v8 under k3

    The keys are drawn without replacement from the lower half of the vocabulary, filler excepted, the values from the
    upper half. The first ``2 * pairs`` tokens are keys and values in turn. The rest is cut into slots of two tokens;
    each key falls into a slot of its own, drawn with a probability in proportion to ``i ** (power - 1)`` for the i-th
    slot, and is the slot's first token. All else is filler, token 0. Only the keys in slots are answered.

    The variants differ in what a pair is:

        k3 v8 k1 v5 k3 v2 · · k3 ·           forgetting, with updates=1: v2 under the last k3
        a1 b7 v4 a1 b9 v0 … a1 b9 ·          compositional: v0 under the last b9
        k3v8 k1v5 · k1 · k3                  stacked: v5 under k1, v8 under k3

    With forgetting, `updates` of the keys come again behind all pairs, each with another value, and the last one is
    asked for. With compositional, two keys have a value together: the pairs are a grid, in random order, of first keys
    and second keys, so that neither tells the value alone; keys and values are thirds of the vocabulary, and slots
    have three tokens. With stacked, key and value are one token, and slots have one: n keys, n values and the n * n
    pairs of them are the vocabulary, which is small enough for all of them to be learned if n is, e.g. 16 with
    vocab=289.

    Options:
        pairs: keys, each with a value; a square number with compositional.
        length: tokens of a sequence, even, at least 4 * pairs; 2 * updates more with forgetting, 6 * pairs with
            compositional, 2 * pairs with stacked.
        vocab: how many tokens there are; more than the longest sequence has, or with stacked at least
            (pairs + 1) ** 2, of which the largest square number is used.
        random_filler: replace the filler by random tokens of the whole vocabulary. They can be equal to keys and to
            values, also to the key that is asked for; of the original, the library does it by default, and
            the published figure does not.
        power: 1 spreads the queries evenly, less pulls them towards the pairs.
        variant: plain, forgetting, compositional or stacked.
        updates: how many keys are given another value, with forgetting.
        mixture: draw length and pairs of each example from the published mixture, and fill up with filler; pairs is
            not used then.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with as many pairs, or those that were published with mixture.

    Raises:
        ValueError: an odd length, one that is too short, or one that the vocabulary does not exceed; a power below 0 or
            above 10; pairs, updates or lengths that the variant or the mixture does not take.

    Source: Arora et al. 2023, "Zoology: Measuring and Improving Recall in Efficient Language Models",
    arXiv:2312.04927; the variants are those of its library, where stacked joins the embeddings of a key and a value, so
    that the pair and the query have half of it in common; here nothing but training tells which key a pair has. The
    slices tell the accuracy by the distance from the query back to its key, in powers of two; by the values that the
    key was given, with forgetting; and by the number of pairs, with mixture.
    """

    paper: ClassVar[str] = "Arora et al. 2023, arXiv:2312.04927"
    suite: ClassVar[str] = "recall"
    solved = 0.99
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
        variant: Literal["plain", "forgetting", "compositional", "stacked"] = "plain",
        updates: int = 4,
        mixture: bool = False,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        check_least(1, pairs=pairs, updates=updates, examples=examples)
        if not 0 <= power <= 10:
            raise ValueError(f"power={power} should be from 0 to 10; 1 spreads the queries evenly")
        if variant == "stacked" and (random_filler or mixture):
            option = "random_filler" if random_filler else "mixture"
            raise ValueError(f"{option}=true should be false with variant='stacked'")
        self.mixture = (PLAIN if variant == "plain" else SQUARES) if mixture else None
        form = _form(variant, vocab, updates)
        if self.mixture:
            self.mixture.check(length, test_lengths)
            pairs, self.test_examples = min(self.mixture.test[64]), 1000
        form.check(pairs)
        context, queries = form.context(pairs), form.slot * pairs
        why = f"{pairs} pairs take {context} tokens, and their queries {'as many' if queries == context else queries}"
        self.test_lengths = check_lengths(length, test_lengths, least=context + queries, why=why, even=True)
        longest = max(length, *test_lengths, 0)
        if variant != "stacked" and vocab <= longest:
            raise ValueError(f"vocab={vocab} should be more than the {longest} tokens of the longest sequence")
        self.form, self.pairs, self.length, self.train_examples = form, pairs, length, examples
        self.vocab_size, self.random_filler, self.power = form.vocab_size, random_filler, power

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test are made like those of training, but for the mixture."""
        inputs = np.full((examples, length), FILLER)
        targets, distance, assigned = np.full_like(inputs, IGNORE), np.zeros_like(inputs), np.zeros_like(inputs)
        count = np.full(examples, self.pairs)
        cells = [(np.arange(examples), length, self.pairs)]
        if self.mixture:
            cells = list(self.mixture.deal(generator, examples, length=length, test=test))
        for rows, size, pairs in cells:
            count[rows] = pairs
            drawn = self.form.draw(generator, len(rows), pairs)
            context = drawn.context.shape[1]
            weights = np.arange(1, (size - context) // self.form.slot + 1) ** (self.power - 1)
            places = context + self.form.slot * draw_weighted(generator, weights, rows=len(rows), count=pairs)
            inputs[rows, :context] = drawn.context
            for part in range(drawn.queries.shape[2]):
                inputs[rows[:, None], places + part] = drawn.queries[..., part]
            asked = rows[:, None], places + drawn.queries.shape[2] - 1
            targets[asked], distance[asked] = drawn.values, power_of_two(asked[1] - drawn.places)
            assigned[asked] = 1 if drawn.assigned is None else drawn.assigned
        if self.random_filler:
            filler = inputs == FILLER
            inputs[filler] = generator.integers(self.vocab_size, size=np.count_nonzero(filler))
        slices = {"distance to the key": distance}
        if isinstance(self.form, Forgetting):
            slices["values of the key"] = assigned
        return Examples(inputs, targets, slices=slices | ({"pairs": count} if self.mixture else {}))

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The value of one of the pairs, of each in turn, whatever the key."""
        rows, time = inputs.shape
        pairs = np.full((rows, 1), self.pairs)
        if self.mixture:  # a context ends where no value stands
            value = self.form.is_value(inputs[:, self.form.pair - 1 :: self.form.pair])
            given = np.argmin(np.pad(value, ((0, 0), (0, 1))), axis=1)[:, None]
            pairs = np.maximum(given - (self.form.context(0) // 2), 1)
        turn = np.arange(rows)[:, None] + np.arange(time) // self.form.slot
        return self.form.some_value(inputs, pairs, turn)

    def symbol(self, token: int) -> str:
        """``·`` for the filler, ``k12`` for a key, ``v7`` for a value; see the variants."""
        return "·" if token == FILLER else self.form.symbol(token)


def _form(variant: str, vocab: int, updates: int) -> Plain:
    """What pairs are.

    Raises:
        ValueError: there is no such variant, or a vocabulary without a pair.
    """
    if variant == "forgetting":
        return Forgetting(vocab, updates)
    forms = {"plain": Plain, "compositional": Compositional, "stacked": Stacked}
    if variant not in forms:
        raise ValueError(f"variant={variant!r} is not known; there are: plain, forgetting, compositional, stacked")
    return forms[variant](vocab)
