"""Cutting a long text where no word of GPT-2's goes across, so that a tokenizer never holds all of it at once.

GPT-2 cuts a text into words, from left to right, by

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

A word is a run of letters, of digits, of other characters or of white space, at most with one space in front; only a
contraction goes from an apostrophe into letters. Only white space looks at what follows it. A chunk may therefore end
between two characters of different classes, unless the first is white space, or an apostrophe before a letter.

The separator of documents is a chunk of its own, so that it is one token and no word goes across it.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from zoo.data.documents import SEPARATOR

CHUNK = 2**16
"""Characters of a chunk, if there is a boundary so soon."""

_WHITE = "\t\n\v\f\r"

# What Python holds to be white space holds all that a tokenizer may, but for these, which old versions of Unicode had.
_BEFORE_SPACE = re.compile(r"(?<=[^\s\u180e\u200b])(?=[ \t\r\n])")


def chunks(text: str, size: int = CHUNK) -> Iterator[str]:
    """Cut a text into chunks whose words are those of the whole text, and into its separators.

    A word is never cut: a text without white space or punctuation stays one chunk, however long it is.

    Args:
        text: of any length.
        size: the fewest characters of a chunk, the last one excepted. A chunk ends before the next white space if
            that is at most `size` characters away, or else at the next boundary of any kind.
    """
    start = 0
    while start < len(text):
        separator = text.find(SEPARATOR, start)
        stop = len(text) if separator < 0 else separator
        while start < stop:
            end = _boundary(text, start + size, start + 2 * size, stop)
            yield text[start:end]
            start = end
        if separator >= 0:
            yield SEPARATOR
            start += 1


def _boundary(text: str, start: int, soon: int, stop: int) -> int:
    """The first place from `start` on where a chunk may end; `stop` if there is none before."""
    space = _BEFORE_SPACE.search(text, start, min(soon, stop))  # fast, and in ordinary text always there
    if space:
        return space.start()
    places = range(start, stop)
    return next((place for place in places if _is_boundary(text[place - 1], text[place])), stop)


def _is_boundary(before: str, after: str) -> bool:
    left, right = _class(before), _class(after)
    may_contract = before == "'" and right == "L"
    return bool(left and right) and left not in ("Z", right) and not may_contract


@cache
def _class(character: str) -> str:
    """L for a letter, N for a digit, Z for white space, O for another; empty where versions of Unicode disagree."""
    if character in _WHITE:
        return "Z"
    now, then = (table.category(character)[0] for table in (unicodedata, unicodedata.ucd_3_2_0))
    if now != then or now == "C":  # control characters, some of which are white space for some, and what is to come
        return ""
    return now if now in "LNZ" else "O"
