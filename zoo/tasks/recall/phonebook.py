"""The phonebook: numbers are looked up by name."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import draw_distinct
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.recall import byte_text

_LINE_FEED, _SEPARATOR = ord("\n"), ": "
_BEFORE_NUMBER = byte_text.NAME_BYTES + len(_SEPARATOR)


class Phonebook(Task):
    """Phonebook: lines of names and numbers, and then some of the names again, each to be answered by its number.

        Kamo: 482⏎Rive: 101⏎Zuli: 773⏎⏎Rive: 101        targets, from the last space on: 1 0 1

    A token is a byte. The names have two syllables of a consonant and a vowel, and are different; the digits are drawn
    at random. The book has as many lines as fit, and stands after line feeds that fill up. Behind an empty line some
    of the names come again, all different, each followed by its number. All digits of their numbers are targets; what
    counts is the first digit, which only the name tells. The later ones can be copied from where the number began.

    Options:
        length: bytes of a sequence.
        digits: of each number.
        questions: how many names are asked for.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with longer or shorter books.

    Raises:
        ValueError: a length that has no room for a book of two names or of as many as are asked for.

    Source: Jelassi et al. 2024, "Repeat After Me: Transformers are Better than State Space Models at Copying",
    arXiv:2402.01032, who ask pretrained models for one number after two examples, and count whole numbers. Here a small
    model is trained from scratch, names and numbers are short, and the further questions take the place of the
    examples. The slices tell the accuracy by the distance from the question back to the line, in powers of two.
    """

    paper: ClassVar[str] = "Jelassi et al. 2024, arXiv:2402.01032"
    suite: ClassVar[tuple[str, ...]] = ("recall", "extrapolation")
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = {"layers": 4, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    vocab_size = 256
    test_examples = 640

    def __init__(
        self,
        *,
        length: int = 128,
        digits: int = 3,
        questions: int = 4,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (256, 512),
    ) -> None:
        check_least(1, digits=digits, questions=questions, examples=examples)
        self.line = _BEFORE_NUMBER + digits + 1
        self.asking = questions * self.line  # an empty line in front, and no line feed at the end
        book = max(2, questions)
        why = f"digits={digits} make lines of {self.line}, {book} in the book and questions={questions}"
        self.test_lengths = check_lengths(length, test_lengths, least=book * self.line + self.asking, why=why)
        self.length, self.train_examples = length, examples
        self.digits, self.questions = digits, questions

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:  # noqa: ARG002
        """Draw sequences; those of the test are made like those of training."""
        begin, count = self._book(length)
        names = byte_text.draw_names(generator, examples, count)
        numbers = byte_text.draw_numbers(generator, examples, count, self.digits)
        separators, ends = (byte_text.as_bytes(text, examples, count) for text in (_SEPARATOR, "\n"))
        book = np.concatenate([names, separators, numbers, ends], axis=2)
        asked = draw_distinct(generator, count, rows=examples, count=self.questions)
        lines = np.take_along_axis(book, asked[..., None], axis=1)

        inputs = np.full((examples, length), _LINE_FEED)
        inputs[:, begin : begin + count * self.line] = book.reshape(examples, -1)
        inputs[:, length - self.asking + 1 :] = lines.reshape(examples, -1)[:, :-1]
        targets, distance = np.full_like(inputs, IGNORE), np.zeros_like(inputs)
        first = self._first_digits(length)
        for digit in range(self.digits):  # each is asked for at the byte before it
            targets[:, first + digit - 1] = inputs[:, first + digit]
        distance[:, first - 1] = power_of_two(first - _BEFORE_NUMBER - (begin + asked * self.line))
        return Examples(inputs, targets, scored=distance > 0, slices={"distance": distance})

    def _book(self, length: int) -> tuple[int, int]:
        """Where the book begins, and how many lines it has."""
        count = min((length - self.asking) // self.line, byte_text.NAMES)
        return length - self.asking - count * self.line, count

    def _first_digits(self, length: int) -> np.ndarray:
        """Where the first digits of the numbers stand that are asked for, ``(questions,)``."""
        return length - self.asking + 1 + _BEFORE_NUMBER + self.line * np.arange(self.questions)

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The first digit that most numbers of the book have, without those that have been asked for."""
        begin, count = self._book(inputs.shape[1])
        given = begin + _BEFORE_NUMBER + self.line * np.arange(count)
        asked, guesses = self._first_digits(inputs.shape[1]), np.full_like(inputs, ord("0"))
        digits = inputs[:, np.concatenate([given, asked])]
        weights = np.concatenate([np.ones(count), np.zeros(self.questions)])
        for question, place in enumerate(asked):
            guesses[:, place - 1] = byte_text.most_frequent_digit(digits, np.tile(weights, (len(inputs), 1)))
            weights[count + question] = -1
        return guesses

    def symbol(self, token: int) -> str:
        """The character of a byte; ``␣`` for a space, ``⏎`` for a line feed."""
        return byte_text.symbol_of_byte(token)
