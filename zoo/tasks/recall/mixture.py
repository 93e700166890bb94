"""The mixtures of lengths and pairs on which multi-query associative recall is trained and tested."""

from collections.abc import Iterator

import numpy as np


class Mixture:
    """What is trained, and what is tested at each length."""

    def __init__(self, train: tuple[tuple[int, int, int], ...], test: dict[int, tuple[int, ...]]) -> None:
        """From (length, pairs, parts of the training), and the numbers of pairs by length of the test."""
        self.train, self.test = train, test

    def check(self, length: int, test_lengths: tuple[int, ...]) -> None:
        """Refuse a length that was not published.

        Raises:
            ValueError: names the option, and what would do.
        """
        for name, each in [(f"length={length}", length), *((f"{each} in test_lengths", each) for each in test_lengths)]:
            if each not in self.test:
                raise ValueError(f"{name} should be one of {', '.join(map(str, self.test))} with mixture=true")

    def deal(
        self, generator: np.random.Generator, examples: int, *, length: int, test: bool
    ) -> Iterator[tuple[np.ndarray, int, int]]:
        """Which examples have which length and how many pairs, as (rows, length, pairs)."""
        if test:
            cells = [(length, pairs, 1) for pairs in self.test[length]]
        else:
            cells = [cell for cell in self.train if cell[0] <= length]
        weights = np.array([parts for *_, parts in cells])
        chosen = generator.choice(len(cells), size=examples, p=weights / weights.sum())
        for number, (size, pairs, _) in enumerate(cells):
            yield np.flatnonzero(chosen == number), size, pairs


PLAIN = Mixture(
    ((64, 4, 5), (128, 8, 1), (256, 16, 1), (256, 32, 1), (256, 64, 1)),
    {64: (4, 8, 16), 128: (32,), 256: (64,), 512: (128,), 1024: (256,)},
)
"""Of plain pairs: 100,000 sequences of the first, 20,000 of the others."""

SQUARES = Mixture(
    ((64, 4, 5), (128, 9, 1), (256, 16, 1), (256, 25, 1), (256, 36, 1)),
    {64: (4, 9), 128: (16,), 256: (36,), 512: (64,), 1024: (144,), 2048: (256,)},
)
"""Of the forgetting and compositional variants, whose pairs are squares."""
