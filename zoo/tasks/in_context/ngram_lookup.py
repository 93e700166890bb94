"""Look-up in strings."""

from typing import Literal

import numpy as np

from zoo import Examples
from zoo.tasks.distances import power_of_two
from zoo.tasks.drawing import choose_one
from zoo.tasks.in_context.strings import StringTask, write
from zoo.tasks.limits import check_least, check_lengths
from zoo.tasks.repeats import find_repeats


class NGramLookup(StringTask):
    """Look-up of letters in a string: some letters in a row, which it has once, and what follows them there.

        $ b f a c d | f a c .        with key=2, answer=1: targets under the second a: c, and under the c the dot
        $ f a | b f a c d | c .      with order="prefix", where the key comes before the string

    A string has from ``key + answer`` letters to as many as the length has room for, all numbers being equally likely;
    in the test it has the most. Its letters are drawn at random, anew where no key is left that comes once in it and
    has an answer behind it; of those that are left, each is equally likely. Filler follows the dot. The dot is learned,
    too, but only the letters count.

    Options:
        length: tokens of a sequence: the longest string, a key, an answer, and three marks, with prefix four.
        letters: how many letters there are, up to 26.
        order: suffix asks when the string is known; prefix before.
        key: letters by which the place is found.
        answer: letters behind it that are asked for.
        examples: how many different sequences are trained on; None draws new ones for every step.
        test_lengths: other lengths to test.

    Raises:
        ValueError: an unknown order, fewer than 2 letters or more than 26, a length that does not hold a string of a
            key and its answer, or fewer keys than the longest string has letters.

    Source: Jelassi et al. 2024, "Repeat After Me: Transformers are Better than State Space Models at Copying",
    arXiv:2402.01032, who train on strings of up to 50 letters. There several examples share a sequence in training, the
    key may come again later in the string, and the models are large. The slices tell the accuracy by the distance from
    where a letter is asked for back to where it stands in the string, in powers of two, and by which letter of the
    answer it is.
    """

    def __init__(
        self,
        *,
        length: int = 58,
        letters: int = 26,
        order: Literal["suffix", "prefix"] = "suffix",
        key: int = 2,
        answer: int = 3,
        examples: int | None = None,
        test_lengths: tuple[int, ...] = (108, 208),
    ) -> None:
        if order not in ("suffix", "prefix"):
            raise ValueError(f"order={order!r} is not known; there are: suffix, prefix")
        check_least(1, key=key, answer=answer, examples=examples)
        self._set_letters(letters)
        self.others = 3 + (order == "prefix") + key + answer
        why = f"a string of key={key} + answer={answer} letters, these again, and {self.others - key - answer} marks"
        self.test_lengths = check_lengths(length, test_lengths, least=self.others + key + answer, why=why)
        longest = max(length, *test_lengths, 0)
        if letters**key < longest - self.others:
            raise ValueError(
                f"letters={letters} and key={key} make {letters**key} keys; for a length of {longest} there should be "
                f"{longest - self.others} or more, one for each letter of the string"
            )
        self.length, self.train_examples = length, examples
        self.order, self.key, self.answer = order, key, answer

    def draw(self, generator: np.random.Generator, examples: int, *, length: int, test: bool) -> Examples:
        """Draw sequences; those of the test have strings of the most letters."""
        least, most = self.key + self.answer, length - self.others
        size = np.full(examples, most) if test else generator.integers(least, most + 1, size=examples)
        string, possible = self._draw_strings(generator, size, most)
        start = choose_one(generator, possible)[:, None]
        found = np.take_along_axis(string, start + np.arange(least), axis=1)
        key, answer = (np.full(examples, count) for count in (self.key, self.answer))
        if self.order == "suffix":
            parts, begin = [(string, size), (found, key + answer)], 1
        else:
            parts, begin = [(found, key), (string, size), (found[:, self.key :], answer)], self.key + 2
        written = write(self.letters, length, parts, answer)
        asked = written.place >= 0
        source = begin + start + self.key + written.place
        slices = {
            "distance to the letter": np.where(asked, power_of_two(np.arange(length) - source), 0),
            "letter of the answer": np.where(asked, 1 + written.place, 0),
        }
        return Examples(written.inputs, written.targets, scored=asked, slices=slices)

    def _draw_strings(
        self, generator: np.random.Generator, size: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Strings of these sizes, and where in them a key can start, ``(b, most)`` each; in each string one can."""
        string = generator.integers(self.letters, size=(len(size), most))
        possible = self._possible(string, size)
        while len(row := np.flatnonzero(~possible.any(axis=1))):
            string[row] = generator.integers(self.letters, size=(len(row), most))
            possible[row] = self._possible(string[row], size[row])
        return string, possible

    def _possible(self, string: np.ndarray, size: np.ndarray) -> np.ndarray:
        fits = np.arange(string.shape[1]) <= size[:, None] - self.key - self.answer
        return fits & come_once(string, size, self.key)


def come_once(string: np.ndarray, size: np.ndarray, count: int) -> np.ndarray:
    """Where `count` letters in a row start that the string has nowhere else, ``(b, most)``, bool.

    Args:
        string: letters, ``(b, most)``.
        size: how many letters each string has, the first so many, ``(b,)``.
        count: 1 or more.
    """
    places = np.arange(string.shape[1] + count - 1)
    base = 1 + max(string.max(), 0)
    # Behind the end each place has a letter of its own, so that what reaches over it repeats nothing.
    letters = np.where(places < size[:, None], np.pad(string, ((0, 0), (0, count - 1))), base + places)
    names = letters[:, : string.shape[1]]
    for offset in range(1, count):
        first = find_repeats(names).first  # a small number for the letters so far
        names = first * (base + len(places)) + letters[:, offset : offset + string.shape[1]]
    repeats = find_repeats(names)
    once = repeats.times == 0
    row, place = np.nonzero(~once)
    once[row, repeats.first[row, place]] = False
    return once
