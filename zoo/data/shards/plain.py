"""Plain texts of any size: looked through once, and then read in pieces."""

import codecs
import hashlib
import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from zoo.data.files import NotTextError
from zoo.data.shards.block import Block, Piece, Position
from zoo.data.shards.inputs import InputFile
from zoo.errors import UsageError

PIECE = 2**20
"""Bytes of a piece, about."""

_LINE_END = re.compile(rb"\n(?=[^\s])")
_WORD_END = re.compile(rb"(?<=[^\s])(?=[ \n])")


@dataclass(frozen=True)
class PlainText:
    """A plain text, of which everything is known but the text.

    Attributes:
        number: of the file.
        file: where it is.
        start: where it starts: behind a byte-order mark.
        end: where it ends.
        digest: SHA-256 of the text.
    """

    number: int
    file: InputFile
    start: int
    end: int
    digest: bytes


def look_through(number: int, file: InputFile) -> PlainText:
    """Read a text once from beginning to end, a mebibyte at a time.

    Raises:
        NotTextError: it has NUL bytes, or is not UTF-8.
    """
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    offset = start = 0
    with open_plain(file) as opened:
        if opened.read(len(BOM_UTF8)) == BOM_UTF8:
            offset = start = len(BOM_UTF8)
        opened.seek(start)
        while chunk := opened.read(PIECE):
            _check(chunk, offset, decoder)
            digest.update(chunk)
            offset += len(chunk)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise NotTextError("it ends within a character") from None
    return PlainText(number, file, start, offset, digest.digest())


def look_through_all(files: tuple[InputFile, ...]) -> list[PlainText]:
    """The plain texts among files; of several those that are binary or empty are left out.

    Raises:
        UsageError: the only file is not text.
    """
    found = []
    for number, file in enumerate(files):
        if file.form != "text":
            continue
        try:
            text = look_through(number, file)
        except NotTextError as error:
            if len(files) > 1:
                continue
            raise UsageError(
                f"the data file {file.name!r} is not UTF-8 text: {error}; convert it, or pass another"
            ) from None
        if text.end > text.start:
            found.append(text)
    return found


def split_place(text: PlainText, validation_fraction: float) -> int:
    """Where the validation split of a single text begins: after a line, or between two characters."""
    place = text.start + int((text.end - text.start) * (1 - validation_fraction))
    with open_plain(text.file) as opened:
        opened.seek(place)
        ahead = opened.read(PIECE)
    line = ahead.find(b"\n") + 1
    if not line:
        line = next((at for at, byte in enumerate(ahead) if not _is_continuation(byte)), 0)
    if place + line >= text.end:
        line = next((at for at, byte in enumerate(ahead) if not _is_continuation(byte)), 0)
    return place + line


def read_pieces(text: PlainText, start: int, split: int | None, done: int) -> Iterator[Block]:
    """The pieces of a text from an offset on.

    Args:
        text: what to read.
        start: where to begin: the start of the text, or what `Block.after` said.
        split: where its validation split begins, if it is split by position.
        done: bytes of the files before it.
    """
    place = max(start, text.start)
    with open_plain(text.file) as opened:
        opened.seek(place)
        while place < text.end:
            stop = text.end if split is None or place >= split else split
            content = _next_piece(opened, place, stop)
            validation = None if split is None else place >= split
            first = place in (text.start, split)
            place += len(content)
            at_end = place >= text.end
            after = Position(text.number + 1) if at_end else Position(text.number, place)
            piece = Piece(text.digest, first, at_end and split is None, validation)
            size = text.file.size if at_end else place
            yield Block("piece", text.file.name, content, after, done + size, piece=piece)


def _next_piece(opened: BinaryIO, place: int, stop: int) -> bytes:
    content = opened.read(min(PIECE, stop - place))
    if place + len(content) < stop:
        content = content[: _boundary(content)]
        opened.seek(place + len(content))
    if not content:
        raise UsageError("a text has become shorter while it was read: start again when nothing writes to it")
    return content


def _boundary(content: bytes) -> int:
    """Where to end a piece: after its last line, or else before its last space, or else between two characters."""
    half = len(content) // 2
    for pattern in (_LINE_END, _WORD_END):
        found = None
        for found in pattern.finditer(content, half):  # noqa: B007 - the last one is looked for
            pass
        if found is not None:
            return found.end()
    end = len(content) - 1
    while _is_continuation(content[end]):
        end -= 1
    return end


def _is_continuation(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _check(chunk: bytes, offset: int, decoder: codecs.IncrementalDecoder) -> None:
    if b"\0" in chunk:
        raise NotTextError(f"there is a NUL byte at offset {offset + chunk.index(0)}")
    pending = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        place = offset - pending + error.start
        raise NotTextError(f"there is a byte 0x{error.object[error.start]:02x} at offset {place}") from None


def open_plain(file: InputFile) -> BinaryIO:
    """The bytes of a file, or of a text in memory."""
    if file.content is not None:
        return io.BytesIO(file.content)
    assert file.path is not None
    return file.path.open("rb")
