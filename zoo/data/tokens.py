"""The tokens of a split, in one array or in several files that read as one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np


class ShardedTokens:
    """The tokens of several arrays one after the other, with the places where documents start.

    Args:
        parts: tokens, ``(t_i,)`` each, usually mapped from files.
        starts: for each part where in it a document starts, ``(n_i,)`` each, in increasing order. A part may begin
            inside a document.
    """

    def __init__(self, parts: Sequence[np.ndarray], starts: Sequence[np.ndarray]) -> None:
        self._parts, self._starts = tuple(parts), tuple(starts)
        self._firsts = np.cumsum([0, *map(len, self._parts)])
        self.dtype = self._parts[0].dtype if self._parts else np.dtype(np.uint8)

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, chosen: slice) -> np.ndarray:
        """Consecutive tokens, copied."""
        start, stop, step = chosen.indices(len(self))
        if step != 1:
            raise IndexError("tokens of shards are read in a row, or with np.asarray all at once")
        return self._read(start, max(start, stop))

    def __array__(self, dtype: np.dtype | None = None, *, copy: bool | None = None) -> np.ndarray:
        """All of them in memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def windows(self, offsets: np.ndarray, length: int) -> np.ndarray:
        """So many tokens from each offset on, ``(n, length)``."""
        return np.stack([self._read(int(offset), int(offset) + length) for offset in offsets])

    def document_ids(self, offsets: np.ndarray, length: int) -> np.ndarray:
        """How many documents start in a window before or at each of its tokens, but the first, ``(n, length)``."""
        ids = np.zeros((len(offsets), length), dtype=np.int64)
        for row, offset in zip(ids, offsets, strict=True):
            row[self._starts_within(int(offset) + 1, int(offset) + length) - int(offset)] = 1
        return ids.cumsum(1)

    def _read(self, start: int, stop: int) -> np.ndarray:
        read = [self._parts[part][low:high] for part, low, high in self._pieces(start, stop)]
        return np.concatenate(read) if read else np.zeros(0, self.dtype)

    def _starts_within(self, start: int, stop: int) -> np.ndarray:
        found = []
        for part, low, high in self._pieces(start, stop):
            starts = self._starts[part]
            first, last = np.searchsorted(starts, np.array([low, high], dtype=starts.dtype))
            found.append(starts[first:last].astype(np.int64) + self._firsts[part])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Which places of which parts lie between two places of the whole."""
        part = int(np.searchsorted(self._firsts, start, side="right")) - 1
        while start < stop:
            first, end = int(self._firsts[part]), int(self._firsts[part + 1])
            if start < end:
                yield part, start - first, min(stop, end) - first
            start, part = max(start, end), part + 1


Tokens: TypeAlias = np.ndarray | ShardedTokens
"""The tokens of a split, ``(t,)``."""

DocumentIds: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From windows of tokens, ``(b, t)``, and where they begin, ``(b,)``, to the document of each token, ``(b, t)``."""


def windows_of(tokens: Tokens, offsets: np.ndarray, length: int) -> np.ndarray:
    """So many tokens from each offset on, ``(n, length)``."""
    if isinstance(tokens, ShardedTokens):
        return tokens.windows(offsets, length)
    return np.lib.stride_tricks.sliding_window_view(tokens, length)[offsets]


def chunks_of(tokens: Tokens, size: int = 2**20) -> Iterator[np.ndarray]:
    """All tokens in turn, so many at a time."""
    for start in range(0, len(tokens), size):
        yield tokens[start : start + size]
