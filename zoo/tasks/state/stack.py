"""Stacks side by side: pushes and pops, each of one stack of several."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import choose_one
from zoo.tasks.limits import check_least, check_lengths


class Stack(Task):
    """Stacks: elements are pushed onto stacks side by side, and at each pop the element on top is asked for.

        push s1 7 push s0 4 push s1 2 pop s1 2 pop s1 7        targets: 2 and 7, under the s1 of the pops

    Three tokens are an operation: push or pop, a stack, and an element. Each takes a stack drawn evenly, and pushes
    or pops, both as likely; an empty stack is pushed onto. The last one pops, from any stack that is not empty, if
    there is one. What is pushed is drawn evenly. The element is asked for at the stack of a pop, and comes behind it.
    Tokens that make no whole operation are filler, at the end.

    Options:
        length: tokens of a sequence, at least 6.
        stacks: how many stacks there are.
        elements: how many different elements.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with as many stacks.

    Raises:
        ValueError: a length below 6; no stack; fewer than 2 elements.

    Source: Kimi Team 2025, "Kimi Linear: An Expressive, Efficient Attention Architecture", arXiv:2510.26692, with 64
    stacks and lengths from 256 to 2048, scaled down here; how often it pops, and of which stacks, is chosen here. The
    slices tell the accuracy by the distance from the pop back to the push that it takes back, in powers of two, and by
    how many elements lie on the stack.
    """

    paper: ClassVar[str] = "Kimi Team 2025, arXiv:2510.26692"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 128, "heads": 2, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 96,
        stacks: int = 8,
        elements: int = 16,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (192,),
    ) -> None:
        check_least(1, stacks=stacks, examples=examples)
        check_least(2, elements=elements)
        self.test_lengths = check_lengths(length, test_lengths, least=6, why="a push and a pop of three tokens each")
        self.length, self.stacks, self.elements, self.train_examples = length, stacks, elements, examples
        self.push, self.vocab_size = elements + stacks, elements + stacks + 3

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        row, operations = np.arange(examples), length // 3
        pops = generator.random((examples, operations)) < 1 / 2
        element = generator.integers(self.elements, size=(examples, operations))
        stack = generator.integers(self.stacks, size=(examples, operations))
        pushed = np.zeros((examples, self.stacks, operations), dtype=np.int64)  # the operation of each push
        count = np.zeros((examples, self.stacks), dtype=np.int64)
        distance, deep = np.zeros_like(element), np.zeros_like(element)
        for time in range(operations):
            if time == operations - 1:
                any_left = count.any(axis=1, keepdims=True)
                stack[:, time], pops[:, time] = choose_one(generator, (count > 0) | ~any_left), True
            here = stack[:, time]
            pops[:, time] &= count[row, here] > 0
            pop, push = row[pops[:, time]], row[~pops[:, time]]
            top = pushed[pop, here[pop], count[pop, here[pop]] - 1]
            element[pop, time] = element[pop, top]
            distance[pop, time], deep[pop, time] = 3 * (time - top), count[pop, here[pop]]
            pushed[push, here[push], count[push, here[push]]] = time
            count[row, here] += np.where(pops[:, time], -1, 1)

        inputs = np.full((examples, length), self.vocab_size - 1)
        targets, places = np.full_like(inputs, IGNORE), slice(1, 3 * operations, 3)
        inputs[:, 0 : 3 * operations : 3] = self.push + pops
        inputs[:, places], inputs[:, 2 : 3 * operations : 3] = self.elements + stack, element
        targets[:, places] = np.where(pops, element, IGNORE)
        slices = {"distance": np.zeros_like(inputs), "depth": np.zeros_like(inputs)}
        slices["distance"][:, places], slices["depth"][:, places] = power_of_two(distance), deep
        return Examples(inputs, targets, slices=slices)

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The most frequent of the elements that have been pushed and not popped, whatever their stacks."""
        rows, length = inputs.shape
        row, guesses = np.arange(rows), np.zeros_like(inputs)
        left = np.zeros((rows, self.elements), dtype=np.int64)
        for time in range(0, length - 2, 3):
            guesses[:, time + 1] = left.argmax(axis=1)
            whole = inputs[:, time] < self.vocab_size - 1
            left[row[whole], inputs[whole, time + 2]] += np.where(inputs[whole, time] == self.push, 1, -1)
        return guesses

    def symbol(self, token: int) -> str:
        """The number of an element, ``s3`` for a stack, ``push``, ``pop``, and ``·`` for filler."""
        if token < self.elements:
            return str(token)
        return f"s{token - self.elements}" if token < self.push else ("push", "pop", "·")[token - self.push]
