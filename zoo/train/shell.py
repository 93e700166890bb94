"""Commands to be copied into a shell."""

import shlex
from collections.abc import Iterable


def quote(word: str) -> str:
    """A word as a shell reads it back.

    Bytes of a path that are not UTF-8, which Python keeps as lone surrogates, need the form of bash, zsh and ksh:
    ``$'caf\\xe9'``.
    """
    if not any(map(_is_byte, word)):
        return shlex.quote(word)
    return "$'" + "".join(f"\\x{ord(c) - 0xDC00:02x}" if _is_byte(c) else _escaped(c) for c in word) + "'"


def join(words: Iterable[str]) -> str:
    """A command from its words."""
    return " ".join(map(quote, words))


def _is_byte(character: str) -> bool:
    return "\udc80" <= character <= "\udcff"


def _escaped(character: str) -> str:
    return f"\\{character}" if character in "\\'" else character
