"""Needles in a haystack: lines that are hidden in a text."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from zoo import IGNORE, Examples, Task, UsageError
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.recall import byte_text

_BEGIN, _MIDDLE, _END = "\n", "'s number is ", ".\n"
_BEFORE_NUMBER = len(_BEGIN) + byte_text.NAME_BYTES + len(_MIDDLE)
_HAYSTACK = 10
"""Bytes of text that there are at least: one for each tenth of the depth."""


class Needle(Task):
    """Needles in a haystack: lines that give numbers to names, hidden in a text, and at its end the question for one.

        …return x⏎Kamo's number is 482.⏎ + 1…⏎Rive's number is 101.⏎…⏎Kamo's number is 482        targets: 4 8 2

    A token is a byte. The haystack is a piece of a corpus, from its validation split in the test. Each needle is put
    between two bytes of it, drawn evenly. The names have two syllables and are different; the digits are drawn at
    random. The last line asks for one of the names, and is followed by its number. All digits of it are targets; what
    counts is the first digit, which only the name tells. The later ones can be copied from where the number began.

    Options:
        length: bytes of a sequence.
        corpus: what the haystack is made of: the name of a corpus, or the path of a text.
        needles: how many lines are hidden; one of them is asked for.
        digits: of each number.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test, with as many needles.

    Raises:
        ValueError: a length that has no room for the needles, the question and ten bytes of text; a corpus that is not
            available or too short.

    Source: Hsieh et al. 2024, "RULER: What's the Real Context Size of Your Long-Context Language Models?",
    arXiv:2404.06654, whose needles with several keys ask pretrained models for numbers of seven digits at 4,000 tokens
    and more. Here a small model is trained from scratch, on bytes. The slices tell the accuracy by the depth of the
    needle: in which tenth of the text it lies, counted from 1.
    """

    paper: ClassVar[str] = "Hsieh et al. 2024, arXiv:2404.06654"
    suite: ClassVar[tuple[str, ...]] = ("recall", "extrapolation")
    solved = 0.99
    settings: ClassVar[Mapping[str, Any]] = {"layers": 4, "dim": 64, "heads": 4, "channel_mixer": "swiglu"}
    vocab_size = 256
    test_examples = 640

    def __init__(
        self,
        *,
        length: int = 192,
        corpus: str = "python-stdlib",
        needles: int = 4,
        digits: int = 3,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (384, 768),
    ) -> None:
        check_least(2, needles=needles)
        check_least(1, digits=digits, examples=examples)
        self.line = _BEFORE_NUMBER + digits + len(_END)
        taken = needles * self.line + _BEFORE_NUMBER + digits
        why = f"needles={needles} with digits={digits} and the question take {taken}, and text is left"
        self.test_lengths = check_lengths(length, test_lengths, least=taken + _HAYSTACK, why=why)
        if needles > byte_text.NAMES:
            raise ValueError(f"needles={needles} should be {byte_text.NAMES} or less: there are so many names")
        self.train_text, self.test_text = _read(corpus)
        room = max(length, *test_lengths, 0) - taken
        if min(len(self.train_text), len(self.test_text)) < room:
            raise ValueError(f"corpus={corpus!r} should have {room} bytes or more in each split")
        self.length, self.train_examples = length, examples
        self.needles, self.digits, self.taken = needles, digits, taken

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; the text of the test is never one of training."""
        text, room = (self.test_text if test else self.train_text), length - self.taken
        begin = generator.integers(len(text) - room + 1, size=(examples, 1))
        depth = np.sort(generator.random((examples, self.needles)), axis=1)
        names = byte_text.draw_names(generator, examples, self.needles)
        numbers = byte_text.draw_numbers(generator, examples, self.needles, self.digits)
        asked = generator.integers(self.needles, size=examples)

        start, middle, end = (byte_text.as_bytes(text, examples, self.needles) for text in (_BEGIN, _MIDDLE, _END))
        lines = np.concatenate([start, names, middle, numbers, end], axis=2)
        place = (depth * (room + 1)).astype(np.int64) + self.line * np.arange(self.needles)
        inputs = np.empty((examples, length), dtype=np.int64)
        is_text = np.ones((examples, length - _BEFORE_NUMBER - self.digits), dtype=bool)
        where = (place[..., None] + np.arange(self.line)).reshape(examples, -1)
        np.put_along_axis(is_text, where, False, axis=1)
        inputs[:, : is_text.shape[1]] = text[begin + np.maximum(np.cumsum(is_text, axis=1) - 1, 0)]
        np.put_along_axis(inputs, where, lines.reshape(examples, -1), axis=1)
        inputs[:, is_text.shape[1] :] = lines[np.arange(examples), asked, : _BEFORE_NUMBER + self.digits]

        targets, scored = np.full_like(inputs, IGNORE), np.zeros(inputs.shape, dtype=bool)
        targets[:, -self.digits - 1 : -1] = inputs[:, -self.digits :]  # each is asked for at the byte before it
        scored[:, -self.digits - 1] = True
        tenth = 1 + (10 * depth[np.arange(examples), asked]).astype(np.int64)
        return Examples(inputs, targets, scored=scored, slices={"depth": tenth})

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """The first digit that most of the needles have."""
        middle = byte_text.as_bytes(_MIDDLE)
        text = inputs[:, : inputs.shape[1] - _BEFORE_NUMBER - self.digits + 1]
        found = (np.lib.stride_tricks.sliding_window_view(text[:, :-1], len(middle), axis=1) == middle).all(axis=2)
        digits = byte_text.most_frequent_digit(text[:, len(middle) :], found)
        return np.tile(digits[:, None], (1, inputs.shape[1]))

    def symbol(self, token: int) -> str:
        """The character of a byte; ``␣`` for a space, ``⏎`` for a line feed."""
        return byte_text.symbol_of_byte(token)


@lru_cache(maxsize=4)
def _read(corpus: str) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a corpus to train on, and those of its validation split, ``(n,)`` each.

    Raises:
        ValueError: there is no such corpus.
    """
    from zoo import load_data  # and with it torch

    try:
        data = load_data(corpus, tokenizer="byte")
    except UsageError as error:
        raise ValueError(f"corpus={corpus!r} is not available: {error}") from error
    train, validation = (getattr(data, split, None) for split in ("train", "validation"))
    if train is None or validation is None:
        raise ValueError(f"corpus={corpus!r} should be a text: the name of a corpus, or a path")
    return np.asarray(train), np.asarray(validation)
