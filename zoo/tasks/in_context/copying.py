"""Copying of strings."""

import numpy as np

from zoo import Examples
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import draw_distinct
from zoo.tasks.in_context.strings import MARK, StringTask, write
from zoo.tasks.limits import check_least, check_lengths


class Copy(StringTask):
    """Copying: a string of letters, and the whole string again.

        $ b f a c | b f a c .        targets from the | on: b f a c .

    A string has from 1 letter to as many as the length has room for twice, all numbers being equally likely; in the
    test it has the most. Its letters are drawn at random. Filler follows the dot. The dot is learned, too, but only
    the letters count.

    With duplicated=3, three letters in a row come twice in each string of the test: those at one place are written over
    those at another, where neither overlaps the other nor ends the string. Who finds the next letter by the last three
    is led astray.

    Options:
        length: tokens of a sequence: twice the longest string, and three marks.
        letters: how many letters there are, up to 26.
        duplicated: how many letters in a row come twice in each string of the test.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: fewer than 2 letters or more than 26, or a length that does not hold a string twice, or, with
            `duplicated`, a string with the same letters twice.

    Source: Jelassi et al. 2024, "Repeat After Me: Transformers are Better than State Space Models at Copying",
    arXiv:2402.01032, who train on strings of up to 50 letters. There several examples share a sequence in training, the
    letters that come twice may overlap, and the models are large. The slices tell the accuracy by the place of the
    letter in the string, in powers of two, and, with `duplicated`, by how often the letters before it have been put
    into the string, 2 for those right after letters that come twice.
    """

    def __init__(
        self,
        *,
        length: int = 103,
        letters: int = 26,
        duplicated: int = 0,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (203, 403),
    ) -> None:
        check_least(0, duplicated=duplicated)
        check_least(1, examples=examples)
        self._set_letters(letters)
        shortest = 2 * duplicated + 1
        why = f"twice a string of {shortest}, and three marks" + f", with {duplicated=}" * bool(duplicated)
        self.test_lengths = check_lengths(length, test_lengths, least=2 * shortest + 3, why=why)
        self.length, self.duplicated, self.train_examples = length, duplicated, examples

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test have strings of the most letters, in which some may come twice."""
        most = (length - 3) // 2
        size = np.full(examples, most) if test else generator.integers(1, most + 1, size=examples)
        string = generator.integers(self.letters, size=(examples, most))
        times = np.ones_like(string)
        if test and self.duplicated:
            times = _duplicate(generator, string, self.duplicated)
        written = write(self.letters, length, [(string, size), (string, size)], size)
        asked = written.place >= 0
        place = np.where(asked, power_of_two(1 + written.place), 0)
        slices = {"place in the string": place}
        if self.duplicated:
            copies = np.take_along_axis(times, np.maximum(written.place, 0), axis=1)
            slices["copies of the letters before"] = np.where(asked, copies, 0)
        return Examples(written.inputs, written.targets, scored=asked, slices=slices)

    def guess(self, inputs: np.ndarray) -> np.ndarray:
        """Of the letters that the string has more often than the answer so far, the one that is most often left."""
        rows, time = inputs.shape
        left = np.zeros((rows, self.letters), dtype=np.int64)
        guesses, answering = np.zeros_like(inputs), np.zeros(rows, dtype=bool)
        row = np.arange(rows)
        for step in range(time):
            token = inputs[:, step]
            letter = token < self.letters
            left[row[letter], token[letter]] += np.where(answering[letter], -1, 1)
            answering |= token == self.letters + MARK
            guesses[:, step] = left.argmax(axis=1)
        return guesses


def _duplicate(generator: np.random.Generator, string: np.ndarray, count: int) -> np.ndarray:
    """Write `count` letters of each string over others of it, and say how often the letters before each were put in.

    Both places are followed by a letter, and every two places that do not overlap are equally likely.

    Returns:
        ``(b, n)``: 2 for what follows the one or the other, 1 for all else.
    """
    rows, size = string.shape
    row = np.arange(rows)[:, None]
    # Two places that lie `count` apart or more are two of fewer places that lie 1 apart or more.
    places = np.sort(draw_distinct(generator, size - 2 * count + 1, rows=rows, count=2), axis=1)
    places += np.array([0, count - 1])
    letters = np.arange(count)
    string[row, places[:, 1:] + letters] = string[row, places[:, :1] + letters]
    times = np.ones_like(string)
    times[row, places + count] = 2
    return times
