"""State-based recall: bits at addresses that variables hold, and variables that are swapped."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import draw_distinct
from zoo.tasks.limits import check_least, check_lengths

MARKS = "⟨init⟩", "⟨swap⟩", "⟨read⟩", "·"


class StateRecall(Task):
    """State-based recall: variables that point to bits are swapped, and the bit that one of them points to is read.

        1 0 0 1 ⟨init⟩ a @3 b @0 c @1 ⟨swap⟩ a c b a ⟨read⟩ a        targets: 1 under the last a

    The bits come first, drawn at random; behind ⟨init⟩ stands every variable with its address, all addresses
    different, where @0 is the place of the first bit; behind ⟨swap⟩ come pairs of different variables, and each pair
    exchanges its addresses; behind ⟨read⟩ comes a variable, where the bit at its address is asked for. Addresses,
    pairs and the variable that is read are drawn evenly, and so is the number of pairs, from a quarter of those that
    fit, rounded up, to all that fit. The rest is filler.

    Options:
        length: tokens of a sequence; so many pairs fit as it has room for.
        bits: how many bits there are.
        variables: how many variables, at most as many as bits.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with more or fewer pairs.

    Raises:
        ValueError: fewer than 2 variables, or more than bits; a length that does not hold a pair.

    Source: Merrill et al. 2026, "Olmo Hybrid: From Theory to Practice and Back", arXiv:2604.03444, who have five
    variables; the numbers of bits and pairs are not from there: at the default length 4 to 16 pairs are swapped.
    The slices tell the accuracy by whether the variable that is read has another address than at first (1 if not, 2 if
    so), and by the number of pairs, in powers of two.
    """

    paper: ClassVar[str] = "Merrill et al. 2026, arXiv:2604.03444"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "recall", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 4, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 62,
        bits: int = 16,
        variables: int = 5,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (94,),
    ) -> None:
        check_least(2, variables=variables)
        check_least(1, examples=examples)
        if bits < variables:
            raise ValueError(f"bits={bits} should be {variables} or more: no two variables have the same address")
        self.fixed = bits + 2 * variables + 4
        why = f"{bits} bits, {variables} variables with their addresses, a pair, and marks between them"
        self.test_lengths = check_lengths(length, test_lengths, least=self.fixed + 2, why=why)
        self.length, self.bits, self.variables, self.train_examples = length, bits, variables, examples
        self.variable, self.address = 2, 2 + variables
        self.mark = self.address + bits
        self.vocab_size = self.mark + len(MARKS)

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        row, most = np.arange(examples), (length - self.fixed) // 2
        bits = generator.integers(2, size=(examples, self.bits))
        first = draw_distinct(generator, self.bits, rows=examples, count=self.variables)
        pairs = generator.integers(self.variables, size=(examples, most, 2))
        # The second of a pair is any but the first, counted on from it.
        pairs[..., 1] = (pairs[..., 0] + generator.integers(1, self.variables, size=(examples, most))) % self.variables
        count = generator.integers((most + 3) // 4, most + 1, size=examples)
        read = generator.integers(self.variables, size=examples)

        address = first.copy()
        for step in range(most):
            swapped = row[step < count]
            one, other = pairs[swapped, step].T
            address[swapped, one], address[swapped, other] = address[swapped, other], address[swapped, one]
        answer = bits[row, address[row, read]]

        inputs = np.full((examples, length), self.mark + 3)
        begin = self.bits + 2 * self.variables + 2  # of the pairs
        inputs[:, : self.bits], inputs[:, self.bits], inputs[:, begin - 1] = bits, self.mark, self.mark + 1
        inputs[:, self.bits + 1 : begin - 1 : 2] = self.variable + np.arange(self.variables)
        inputs[:, self.bits + 2 : begin - 1 : 2] = self.address + first
        there = np.arange(2 * most) < 2 * count[:, None]
        inputs[:, begin : begin + 2 * most][there] = self.variable + pairs.reshape(examples, -1)[there]
        end = begin + 2 * count + 1
        inputs[row, end - 1], inputs[row, end] = self.mark + 2, self.variable + read
        targets = np.full_like(inputs, IGNORE)
        targets[row, end] = answer
        moved = np.where(address[row, read] == first[row, read], 1, 2)
        return Examples(inputs, targets, slices={"moved": moved, "swaps": power_of_two(count)})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The bit that most of the variables point to: recall alone, for which no swap has to be followed."""
        addresses = inputs[:, self.bits + 2 : self.bits + 1 + 2 * self.variables : 2] - self.address
        bits = np.take_along_axis(inputs[:, : self.bits], addresses, axis=1)
        return np.broadcast_to((2 * bits.sum(axis=1) > self.variables)[:, None], inputs.shape).astype(np.int64)

    def symbol(self, token: int) -> str:
        """``0``, ``1``, ``a``, ``b``, … for variables, ``@7`` for an address, marks in brackets, ``·`` for filler."""
        if token < self.variable:
            return str(token)
        if token < self.address:
            number = token - self.variable
            return "abcdefghijklmnopqrstuvwxyz"[number] if self.variables <= 26 else f"x{number}"
        return f"@{token - self.address}" if token < self.mark else MARKS[token - self.mark]
