"""Palindromes: what came is said again from its end to its beginning."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.limits import check_least, check_lengths


class Palindrome(Task):
    """Palindrome: tokens, a separator, and the same tokens in reverse, each of which is to be predicted.

        4 0 2 2 ⟨back⟩ 2 2 0        targets, from ⟨back⟩ on: 2 2 0 4

    The tokens are drawn at random. Behind ⟨back⟩, the last of the vocabulary, they come again in reverse, and at each
    position the next of them is asked for, at ⟨back⟩ the first. The last is asked for and does not come any more.

    Options:
        length: tokens of a sequence, even.
        vocab: how many tokens there are, ⟨back⟩ included.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an odd length, or one below 2; a vocabulary below 3.

    Source: Kimi Team 2025, "Kimi Linear: An Expressive, Efficient Attention Architecture", arXiv:2510.26692, with
    lengths from 256 to 2048, scaled down here; there the first token behind the separator is not asked for. Delétang et
    al. 2023, arXiv:2207.02098, have the same under the name of Reverse String, with bits, and without the answers among
    the inputs. The slices tell the accuracy by the distance back to the token that is repeated, in powers of two.
    """

    paper: ClassVar[str] = "Kimi Team 2025, arXiv:2510.26692"
    suite: ClassVar[str | tuple[str, ...]] = ("state", "extrapolation")
    settings: ClassVar[Mapping[str, Any]] = {"layers": 2, "dim": 128, "heads": 2, "channel_mixer": "swiglu"}
    solved = 0.99

    def __init__(
        self,
        *,
        length: int = 64,
        vocab: int = 32,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (128,),
    ) -> None:
        check_least(3, vocab=vocab)
        check_least(1, examples=examples)
        self.test_lengths = check_lengths(length, test_lengths, least=2, why="a token, and ⟨back⟩", even=True)
        self.length, self.vocab_size, self.train_examples = length, vocab, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        half = length // 2
        tokens = generator.integers(self.vocab_size - 1, size=(examples, half))
        inputs, targets = np.full((examples, length), self.vocab_size - 1), np.full((examples, length), IGNORE)
        inputs[:, :half], inputs[:, half + 1 :] = tokens, tokens[:, :0:-1]
        targets[:, half:] = tokens[:, ::-1]
        distance = np.zeros_like(inputs)
        distance[:, half:] = power_of_two(1 + 2 * np.arange(half))
        return Examples(inputs, targets, slices={"distance": distance})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """One of the tokens that have come and have not come again, the most frequent of them."""
        rows, length = inputs.shape
        row, half = np.arange(rows), length // 2
        left = np.zeros((rows, self.vocab_size), dtype=np.int64)
        for time in range(half):
            left[row, inputs[:, time]] += 1
        guesses = np.zeros_like(inputs)
        for time in range(half, length):
            if time > half:
                left[row, inputs[:, time]] -= 1
            guesses[:, time] = left.argmax(axis=1)
        return guesses

    def symbol(self, token: int) -> str:
        """``⟨back⟩``, and the number of any other."""
        return "⟨back⟩" if token == self.vocab_size - 1 else str(token)
