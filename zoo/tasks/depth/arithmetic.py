"""Arithmetic expressions modulo a number."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.depth import expressions
from zoo.tasks.limits import check_least, check_lengths

LEAST = {"prefix": 5, "infix": 4, "brackets": 6}
"""Tokens of the shortest sequence with an operation, by form."""

SHORTEST = {"prefix": "⟨1⟩ + 2 3 =", "infix": "2 + 3 =", "brackets": "( 2 + 3 ) ="}


class Arithmetic(Task):
    """Arithmetic: an expression of numbers modulo a small one, and at its end what it gives.

        ⟨2⟩ - * 3 4 5 =        the answer, under the =, modulo 23: 7

    The numbers and the operations, +, - and *, are drawn evenly. In the prefix form an operation stands in front of
    its two operands. The expression has l operations, and ⟨l⟩ stands in front of it; how many of the other l - 1 are in
    the left operand is drawn evenly. In the infix form operations stand between numbers, and * goes before + and -.
    With brackets an expression of 5 tokens or more is ``(left operation right)``, where the number of tokens of the
    left one is drawn evenly, and a shorter one is a number, ``-d``, ``(d)`` or ``(-d)``. In training the number of
    operations, or with brackets of tokens, is drawn evenly up to the most that the length holds; in the test it is the
    most. Filler stands at the end.

    Options:
        form: prefix, infix or brackets.
        modulus: numbers are from 0 to below it.
        length: tokens of a sequence, the = included.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with expressions as long as they hold.

    Raises:
        ValueError: an unknown form, a modulus below 2, or a length that does not hold an operation.

    Source: the prefix form is Mano of Allen-Zhu 2025, "Physics of Language Models: Part 4.1, Architecture Design and
    the Magic of Canon Layers", arXiv:2512.17351, with 10 to 16 operations there and 3 here, and with the loss on the
    answer alone. The others are modular arithmetic of Delétang et al. 2023, "Neural Networks and the Chomsky
    Hierarchy", arXiv:2207.02098, modulo 5, without and with brackets, which Grazzi et al. 2025, arXiv:2411.12537,
    train at lengths up to 40 and test up to 256. The slices tell the accuracy by the number of operations and, but for
    infix, by how deep they stand one in another.
    """

    paper: ClassVar[str] = "Allen-Zhu 2025, arXiv:2512.17351"
    suite: ClassVar[tuple[str, ...]] = ("depth", "state")
    aliases: ClassVar[tuple[str, ...]] = ("mano",)
    settings: ClassVar[Mapping[str, Any]] = {"layers": 4, "dim": 128, "heads": 4, "channel_mixer": "swiglu"}
    solved = 0.95

    def __init__(
        self,
        *,
        form: Literal["prefix", "infix", "brackets"] = "prefix",
        modulus: int = 23,
        length: int = 9,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (),
    ) -> None:
        if form not in LEAST:
            raise ValueError(f"form={form!r} is not known; there are: {', '.join(LEAST)}")
        check_least(2, modulus=modulus)
        check_least(1, examples=examples)
        why = f"the shortest expression with an operation is {SHORTEST[form]}"
        self.test_lengths = check_lengths(length, test_lengths, least=LEAST[form], why=why)
        self.form, self.modulus, self.length, self.train_examples = form, modulus, length, examples
        self.symbols = [*map(str, range(modulus)), "+", "-", "*", "=", "·"]
        if form == "brackets":
            self.symbols += ["(", ")"]
        if form == "prefix":
            longest = max(length, *test_lengths, 0)
            self.symbols += [f"⟨{operations}⟩" for operations in range(1, self._most(longest) + 1)]
        self.vocab_size = len(self.symbols)

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test have the longest expressions."""
        least, most = self._most(LEAST[self.form]), self._most(length)
        size = np.full(examples, most) if test else generator.integers(least, most + 1, size=examples)
        tokens, result = self._draw_expressions(generator, size)

        inputs, row = np.full((examples, length), self.modulus + expressions.FILLER), np.arange(examples)
        begin = int(self.form == "prefix")
        inputs[:, begin : begin + tokens.shape[1]] = tokens
        if self.form == "prefix":
            inputs[:, 0] = self.modulus + expressions.FILLER + size
        end = begin + (size if self.form == "brackets" else 2 * size + 1)
        inputs[row, end] = self.modulus + expressions.EQUALS
        targets = np.full_like(inputs, IGNORE)
        targets[row, end] = result.value
        depth = {} if result.depth is None else {"depth": result.depth}
        return Examples(inputs, targets, slices={"operations": result.operations, **depth})

    def _most(self, length: int) -> int:
        """The most operations of an expression, or with brackets the most tokens, that a sequence holds."""
        if self.form == "brackets":
            return length - 1
        return (length - 3) // 2 if self.form == "prefix" else (length - 2) // 2

    def _draw_expressions(
        self, generator: np.random.Generator, size: np.ndarray
    ) -> tuple[np.ndarray, expressions.Result]:
        if self.form == "prefix":
            tokens = expressions.draw_prefix(generator, self.modulus, size)
            return tokens, expressions.evaluate_prefix(tokens, self.modulus)
        if self.form == "infix":
            tokens = expressions.draw_infix(generator, self.modulus, size)
            return tokens, expressions.evaluate_infix(tokens, self.modulus)
        tokens = expressions.draw_brackets(generator, self.modulus, size)
        return tokens, expressions.evaluate_brackets(tokens, self.modulus)

    def symbol(self, token: int) -> str:
        """A number, ``+``, ``-``, ``*``, ``=``, a bracket, ``⟨2⟩`` in front of two operations, ``·`` for the filler."""
        return self.symbols[token]
