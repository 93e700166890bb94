"""A block of documents as it was read, and the texts in it: by form, with the place of what cannot be read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from zoo.errors import UsageError

Kind: TypeAlias = Literal["lines", "texts", "piece"]

_SHOWN = 8
"""Fields that an error lists."""


@dataclass(frozen=True)
class Position:
    """A place in the files, from which reading goes on.

    Attributes:
        file: its number.
        offset: bytes into the file, unpacked; rows of a table; or documents of a corpus.
        line: lines before it.
    """

    file: int = 0
    offset: int = 0
    line: int = 0


@dataclass(frozen=True)
class Piece:
    """What a piece of a plain text is a piece of.

    Attributes:
        digest: SHA-256 of the whole text.
        starts: whether it is the first one of its document.
        ends: whether it is the last one, and another document may follow.
        validation: whether it is for validation; None where the digest decides.
    """

    digest: bytes
    starts: bool
    ends: bool
    validation: bool | None


@dataclass(frozen=True)
class Block:
    """Some documents, or a piece of one, as they were read.

    Attributes:
        kind: JSON lines, texts laid end to end, or a piece of a single text.
        name: of the file, for errors.
        payload: the bytes.
        line: of JSON lines, how many lines come before.
        lengths: of texts, the bytes of each, int64.
        piece: of a piece.
        after: where the next block begins.
        done: bytes of all files that have been read with it.
    """

    kind: Kind
    name: str
    payload: bytes
    after: Position
    done: int
    line: int = 0
    lengths: bytes = b""
    piece: Piece | None = None


def texts_of(block: Block, field: str) -> Iterator[str]:
    """The texts in a block; those that are empty, or null, are left out.

    Raises:
        UsageError: a line that is no JSON object, has no such field, or one that is no text.
    """
    if block.kind == "lines":
        texts = _texts_of_lines(block, field)
    elif block.kind == "texts":
        texts = _texts_of_lengths(block)
    else:
        texts = iter([block.payload.decode()])
    return filter(None, texts)


def _texts_of_lengths(block: Block) -> Iterator[str]:
    start = 0
    for length in np.frombuffer(block.lengths, np.int64).tolist():
        yield block.payload[start : start + length].decode()
        start += length


def _texts_of_lines(block: Block, field: str) -> Iterator[str]:
    try:
        lines = block.payload.decode().split("\n")
    except UnicodeDecodeError as error:
        line = block.line + block.payload.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{block.name}, line {line:,}, is not UTF-8: repair or remove the line") from None
    for number, content in enumerate(lines, block.line + 1):
        if content and not content.isspace():
            yield _text_of_line(content, field, f"{block.name}, line {number:,},")


def _text_of_line(line: str, field: str, place: str) -> str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"{place} is not JSON ({error.msg}, column {error.colno}): repair or remove it") from None
    except (ValueError, RecursionError):  # a number too long, or brackets too deep
        raise UsageError(f"{place} is JSON that cannot be read: repair or remove it") from None
    if not isinstance(record, dict):
        raise UsageError(f'{place} is no JSON object: each line should read like {{"{field}": "…"}}')
    if field not in record:
        raise UsageError(missing_field(place, field, list(record)))
    text = record[field]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise UsageError(f"{place} has {_kind(text)} in the field {field!r}, not a text: choose another `text_field`")
    if not text.isascii():
        _check_utf8(text, place)
    return text


def missing_field(place: str, field: str, there: list[str]) -> str:
    """That a field is missing, with those that there are."""
    listed = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
    return (
        f"{place} has no field {field!r}, but {listed or 'none at all'}: name the field of the text with `text_field`"
    )


def _check_utf8(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = ascii(text[error.start])
        raise UsageError(f"{place} has {found}, which UTF-8 cannot write: repair or remove it") from None


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "something else")
