"""The words of a pattern: names, options and values, how each is read, checked and written."""

import ast
import math
import re
import warnings
from collections.abc import Collection
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias

from zoo.errors import UsageError

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | None"
"""The value of an option."""

MAX_NESTING = 16
"""Tuples within tuples in the value of an option."""

_CONSTANTS: dict[str, bool | None] = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "none": None,
}
_NAME = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?:)?[A-Za-z][A-Za-z0-9_-]*")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"[+-]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][+-]?[0-9_]+)?")
_STRING = re.compile(r"""'([^'\\]|\\.)*'|"([^"\\]|\\.)*\"""")


def quoted(text: str) -> str:
    """The text in quotes for an error, shortened where it is long."""
    return repr(shortened(text))


def shortened(text: str) -> str:
    """The text, or its beginning where it is too long for a line."""
    return text if len(text) <= 40 else text[:39] + "…"


def canonical_name(name: str) -> str:
    """A mixer's name with ``-`` for ``_``, or an error where it is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{quoted(name)} is no name: expected letters, digits, '-' and '_' after a first letter, "
            "at most with 'distribution:' in front"
        )
    return name.replace("_", "-")


def canonical_label(label: str) -> str:
    """A label with ``-`` for ``_``, or an error where it is none."""
    if not _LABEL.fullmatch(label):
        raise UsageError(f"{quoted(label)} is no label: expected letters, digits, '-' and '_' after a first letter")
    return label.replace("_", "-")


def canonical_option(name: str) -> str:
    """An option's name with ``_`` for ``-``, or an error where it is none."""
    canonical = name.replace("-", "_")
    if not _OPTION.fullmatch(canonical):
        raise UsageError(f"{quoted(name)} is no option's name: expected letters, digits and '_' after a first letter")
    return canonical


def check_new_option(name: str, earlier: Collection[str]) -> None:
    """Raise an error where an option was given before."""
    if name in earlier:
        raise UsageError(f"option {quoted(name)} is given twice: expected each option once")


def canonical_value(value: Any, nesting: int = 0) -> Value:
    """A value as a pattern spells it, or an error where it cannot be written in one.

    Lists and sets become tuples, an Enum's member its value, a path text.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    if isinstance(value, tuple | list):
        if nesting == MAX_NESTING:
            raise UsageError(f"the value is nested too deep: expected at most {MAX_NESTING} levels")
        return tuple(canonical_value(part, nesting + 1) for part in value)
    # Exact types, because a subclass such as numpy.float64 prints as something else.
    if type(value) not in (type(None), bool, int, float, str) or (type(value) is float and not math.isfinite(value)):
        raise UsageError(
            f"{shortened(repr(value))} is no value of an option: expected True, False, None, a finite number, text, "
            "or a tuple or list of those"
        )
    return value


def read_word(word: str) -> Value:
    """The value of a word without quotes: a constant, a number, or plain text."""
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _PLAIN_WORD.fullmatch(word):
        return word
    number = _read_literal(word) if _NUMBER.fullmatch(word) else None
    if number is None or number in (math.inf, -math.inf):
        raise UsageError(
            f"{quoted(word)} is no value: expected True, False, None, a finite number or a plain word; "
            "other text goes in quotes"
        )
    return number


def read_string(string: str) -> str:
    """The text within quotes, with its escapes resolved."""
    if not _STRING.fullmatch(string):
        raise UsageError(f"{shortened(string)} has no closing quote: expected a {string[0]} on the same line")
    text: str | None = _read_literal(string)
    if text is None:
        raise UsageError(f"{shortened(string)} is no string that Python reads: expected '\\\\' for a backslash")
    return text


def print_value(value: Value) -> str:
    """The canonical form of a value: text without quotes where it can be read as nothing else."""
    if isinstance(value, tuple):
        return f"({', '.join(map(print_value, value))}{',' if len(value) == 1 else ''})"
    plain = isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and value not in _CONSTANTS
    return str(value) if plain else repr(value)


def _read_literal(text: str) -> Any:
    """What Python reads, or None where it would refuse or warn, e.g. of an unknown escape."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return None
