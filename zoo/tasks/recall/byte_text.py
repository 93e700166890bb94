"""Names, numbers and bytes of text for the tasks that are read byte by byte."""

import numpy as np

from zoo.tasks.drawing import draw_distinct

_CONSONANTS = np.frombuffer(b"bdfghjklmnprstvwz", dtype=np.uint8).astype(np.int64)
_VOWELS = np.frombuffer(b"aeiou", dtype=np.uint8).astype(np.int64)
_SYLLABLES = len(_CONSONANTS) * len(_VOWELS)

NAMES = _SYLLABLES**2
"""How many names there are."""

NAME_BYTES = 4


def draw_names(generator: np.random.Generator, rows: int, count: int) -> np.ndarray:
    """Different names of two syllables, e.g. ``Kamo``, ``(rows, count, 4)``."""
    numbers = draw_distinct(generator, NAMES, rows=rows, count=count)
    first, second = np.divmod(numbers, _SYLLABLES)
    letters = [
        letter
        for syllable in (first, second)
        for letter in (_CONSONANTS[syllable // len(_VOWELS)], _VOWELS[syllable % len(_VOWELS)])
    ]
    letters[0] = letters[0] - ord("a") + ord("A")
    return np.stack(letters, axis=2)


def draw_numbers(generator: np.random.Generator, rows: int, count: int, digits: int) -> np.ndarray:
    """Numbers of so many digits, with leading zeros, ``(rows, count, digits)``."""
    return ord("0") + generator.integers(10, size=(rows, count, digits))


def as_bytes(text: str, *shape: int) -> np.ndarray:
    """The bytes of a text, again and again, ``(*shape, n)``."""
    found = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
    return np.broadcast_to(found, (*shape, len(found)))


def most_frequent_digit(digits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The digit of the largest weight in each row, ``(b, n)`` and its weights to ``(b,)``; of several the smallest."""
    counts = ((digits[..., None] == ord("0") + np.arange(10)) * weights[..., None]).sum(axis=1)
    return ord("0") + counts.argmax(axis=1)


def symbol_of_byte(byte: int) -> str:
    """The character of printable ASCII; ``␣`` for a space, ``⏎`` for a line feed, ``⟨200⟩`` for any other byte."""
    if 32 < byte < 127:
        return chr(byte)
    return {32: "␣", 10: "⏎"}.get(byte, f"⟨{byte}⟩")
