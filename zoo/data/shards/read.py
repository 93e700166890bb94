"""Reading files of documents in blocks of about a mebibyte, from any block on."""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import IO, Any, BinaryIO

import numpy as np

from zoo.data.shards.block import Block, Position, missing_field
from zoo.data.shards.inputs import InputFile, Inputs
from zoo.data.shards.plain import PlainText, look_through_all, open_plain, read_pieces, split_place
from zoo.errors import PluginError, UsageError, ZooError

BLOCK = 2**20
"""Bytes of a block, about."""

MAX_LINE = 2**26
"""Bytes of the longest line that is read."""

_MAX_ROWS = 2**16

_SKIPPED_AT_ONCE = 2**20


class Reader:
    """The blocks of files of documents, always the same and in the same order.

    Args:
        inputs: the files.
        validation_fraction: of a single plain text, which is split by position.
    """

    def __init__(self, inputs: Inputs, validation_fraction: float) -> None:
        self.inputs, self._fraction = inputs, validation_fraction

    @cached_property
    def _texts(self) -> dict[int, PlainText]:
        return {text.number: text for text in look_through_all(self.inputs.files)}

    @cached_property
    def split_by_position(self) -> int | None:
        """Where the validation split of a single plain text begins; None where whole documents are for validation."""
        if self.inputs.forms != ["text"] or len(self._texts) != 1:
            return None
        return split_place(next(iter(self._texts.values())), self._fraction)

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """The blocks from a position on.

        Raises:
            UsageError: a file that is damaged, or needs a library that is not installed.
            OSError: one that cannot be read.
        """
        start = start or Position()
        for number in range(start.file, len(self.inputs.files)):
            place = start if number == start.file else Position(number)
            yield from self._blocks_of(number, place, sum(file.size for file in self.inputs.files[:number]))

    def _blocks_of(self, number: int, place: Position, done: int) -> Iterator[Block]:
        file = self.inputs.files[number]
        if file.form == "text":
            text = self._texts.get(number)
            split = self.split_by_position
            return iter(()) if text is None else read_pieces(text, place.offset, split, done)
        if file.form == "parquet":
            return _blocks_of_table(file, self.inputs.field, place, done)
        if file.form == "corpus":
            return self._blocks_of_corpus(place)
        return _blocks_of_lines(file, place, done)

    def _blocks_of_corpus(self, place: Position) -> Iterator[Block]:
        corpus, name = self.inputs.corpus, self.inputs.name
        assert corpus is not None
        texts, size, count = list[bytes](), 0, place.offset
        try:
            for text in islice(corpus.documents(), place.offset, None):
                texts.append(text.encode())
                size, count = size + len(texts[-1]), count + 1
                if size >= BLOCK:
                    yield _block_of_texts(name, texts, Position(0, count), 0)
                    texts, size = [], 0
        except ZooError:
            raise
        except Exception as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise PluginError(f"the corpus {name} failed after {count:,} documents: {cause}") from error
        yield _block_of_texts(name, texts, Position(1), 0)


def _block_of_texts(name: str, texts: list[bytes], after: Position, done: int) -> Block:
    lengths = np.array([len(text) for text in texts], np.int64).tobytes()
    return Block("texts", name, b"".join(texts), after, done, lengths=lengths)


def _blocks_of_lines(file: InputFile, place: Position, done: int) -> Iterator[Block]:
    with _damage_explained(file), open_plain(file) as raw, _unpacked(file, raw) as opened:
        offset, line = _skip(opened, file, place.offset), place.line
        while payload := opened.read(BLOCK):
            if not payload.endswith(b"\n"):
                rest = opened.readline(MAX_LINE)
                payload += rest
                if len(rest) == MAX_LINE:
                    raise UsageError(
                        f"{file.name}, line {line + _lines(payload) + 1:,}, has more than {MAX_LINE:,} bytes: cut it "
                        "into several documents"
                    )
            if offset == 0:
                offset, payload = _without_mark(payload)
            offset += len(payload)
            # of a file that is packed, how far the packed bytes were read
            read = offset if file.form == "jsonl" else raw.tell()
            yield Block(
                "lines", file.name, payload, Position(place.file, offset, line + _lines(payload)), done + read, line
            )
            line += _lines(payload)


def _lines(payload: bytes) -> int:
    return payload.count(b"\n")


def _without_mark(payload: bytes) -> tuple[int, bytes]:
    """The offset at which the text starts, and the text, without a byte-order mark."""
    mark = b"\xef\xbb\xbf"
    return (len(mark), payload[len(mark) :]) if payload.startswith(mark) else (0, payload)


def _skip(opened: IO[bytes], file: InputFile, offset: int) -> int:
    if file.form == "jsonl":
        return opened.seek(offset)
    left = offset
    while left and (skipped := len(opened.read(min(left, _SKIPPED_AT_ONCE)))):
        left -= skipped
    return offset


@contextmanager
def _unpacked(file: InputFile, raw: BinaryIO) -> Iterator[IO[bytes]]:
    if file.form == "jsonl":
        yield raw
    elif file.form == "jsonl.gz":
        with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            yield io.BufferedReader(unpacked)
    else:
        zstandard = _library("zstandard", file.name)
        with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as unpacked:
            yield io.BufferedReader(unpacked)


def _blocks_of_table(file: InputFile, field: str, place: Position, done: int) -> Iterator[Block]:
    """Rows of one column, in blocks that depend on the file alone."""
    parquet = _library("pyarrow.parquet", file.name)
    # neither mapped nor buffered ahead: of a row group of any size only some pages are in memory
    options = {"memory_map": False, "pre_buffer": False, "buffer_size": 2**20}
    with _damage_explained(file), parquet.ParquetFile(file.path, **options) as table:
        column = _column(file, table, field)
        total, row, before = max(1, table.metadata.num_rows), 0, 0
        for group in range(table.metadata.num_row_groups):
            count = table.metadata.row_group(group).num_rows
            if before + count > place.offset:
                size = table.metadata.row_group(group).column(column).total_uncompressed_size
                rows, row = min(_MAX_ROWS, max(1, BLOCK * count // max(1, size))), before
                for batch in table.iter_batches(batch_size=rows, row_groups=[group], columns=[field]):
                    row += batch.num_rows
                    if row > place.offset:
                        after, read = Position(place.file, row), done + file.size * row // total
                        yield _block_of_rows(file, batch.column(0), after, read)
            before += count


def _column(file: InputFile, table: Any, field: str) -> int:
    """The number of the column of that name, which has to hold text."""
    types = _library("pyarrow.types", file.name)
    schema = table.schema_arrow
    if field not in schema.names:
        raise UsageError(missing_field(file.name, field, list(schema.names)))
    kind = schema.field(field).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise UsageError(f"{file.name} has {kind} in the column {field!r}, not text: choose another `text_field`")
    paths = [table.metadata.schema.column(number).path for number in range(len(table.metadata.schema))]
    return paths.index(field)


def _block_of_rows(file: InputFile, column: Any, after: Position, done: int) -> Block:
    arrow = _library("pyarrow", file.name)
    texts = column.cast(arrow.large_string()).fill_null("")
    _, offsets, content = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    payload = b"" if content is None else content.slice(int(bounds[0]), int(bounds[-1] - bounds[0])).to_pybytes()
    return Block("texts", file.name, payload, after, done, lengths=np.diff(bounds).tobytes())


@contextmanager
def _damage_explained(file: InputFile) -> Iterator[None]:
    try:
        yield
    except (ZooError, FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(file, error) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"zlib", "zstd", "zstandard", "pyarrow"}:
            raise
        raise _damaged(file, error) from None


def _damaged(file: InputFile, error: Exception) -> UsageError:
    cause = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return UsageError(f"{file.name} is damaged, or not of the form {file.form} ({cause[:100]}): put back a good copy")


def _library(name: str, file: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UsageError(f"{file} needs the library {package}: pip install 'mixer-zoo[data]'") from None
