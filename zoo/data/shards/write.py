"""Shards on disk: written whole, and recorded in a journal, so that an interrupted encoding can be resumed."""

import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.shards.block import Position
from zoo.data.shards.worker import DIGEST, EncodedBlock, EncodedPart
from zoo.files.atomic import sync_folder, write_atomically
from zoo.files.strict_json import to_json

SHARD = 2**26
"""Bytes of tokens after which a shard is closed."""

JOURNAL = "journal.jsonl"
SPLITS = ("train", "validation")

_FIRST_DIGEST = hashlib.sha256(b"mixer-zoo documents 1").digest()


@dataclass(frozen=True)
class ShardRecord:
    """What the journal says of a shard.

    Attributes:
        after: where in the files the next shard begins.
        done: bytes of the files that were read up to there.
        digest: of all documents up to there, as hexadecimal digits.
        train, validation: of each split ``tokens``, ``documents``, ``bytes`` of text, and the ``files`` with ``name``,
            ``size`` and ``sha256`` each: the tokens, and where documents start.
    """

    after: Position
    done: int
    digest: str
    train: dict[str, Any]
    validation: dict[str, Any]


class ShardWriter:
    """Collects encoded blocks and writes them as shards, each at the end of a block.

    Args:
        folder: of the shards.
        dtype: of the tokens.
        records: of the shards that are there already.
    """

    def __init__(self, folder: Path, dtype: np.dtype, records: Iterable[ShardRecord] = ()) -> None:
        self._folder, self._dtype = folder, dtype
        self.records = list(records)
        self.documents = sum(record.train["documents"] + record.validation["documents"] for record in self.records)
        last = self.records[-1] if self.records else None
        self._digest = bytes.fromhex(last.digest) if last else _FIRST_DIGEST
        self._parts: dict[str, list[EncodedPart]] = {split: [] for split in SPLITS}
        self._size = 0

    @property
    def start(self) -> Position:
        """Where reading goes on."""
        return self.records[-1].after if self.records else Position()

    def add(self, encoded: EncodedBlock, after: Position, done: int) -> None:
        """Take a block, and write a shard if it is full."""
        for start in range(0, len(encoded.digests), DIGEST):
            self._digest = hashlib.sha256(self._digest + encoded.digests[start : start + DIGEST]).digest()
        self.documents += len(encoded.digests) // DIGEST
        for split in SPLITS:
            part: EncodedPart = getattr(encoded, split)
            if len(part.tokens):
                self._parts[split].append(part)
                self._size += part.tokens.nbytes
        if self._size >= SHARD:
            self.close(after, done)

    def close(self, after: Position, done: int) -> None:
        """Write what has been collected as a shard."""
        written = {split: self._write(split) for split in SPLITS}
        record = ShardRecord(after, done, self._digest.hex(), written["train"], written["validation"])
        with (self._folder / JOURNAL).open("ab") as journal:
            journal.write(json.dumps(asdict(record)).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        self.records.append(record)
        self._parts = {split: [] for split in SPLITS}
        self._size = 0

    def _write(self, split: str) -> dict[str, Any]:
        parts = self._parts[split]
        tokens = sum(len(part.tokens) for part in parts)
        firsts = np.cumsum([0, *(len(part.tokens) for part in parts)])
        starts = [part.starts + first for part, first in zip(parts, firsts[:-1], strict=True)]
        described: dict[str, Any] = {"tokens": tokens, "documents": sum(map(len, starts))}
        described |= {"bytes": sum(part.text_bytes for part in parts), "files": []}
        if tokens:
            name = f"{split}-{len(self.records):05}"
            arrays = [np.asarray(each, np.uint64) for each in starts]
            described["files"] = [
                _write_array(self._folder / f"{name}.npy", [part.tokens for part in parts], self._dtype),
                _write_array(self._folder / f"{name}.documents.npy", arrays, np.dtype(np.uint64)),
            ]
        return described


def read_journal(folder: Path) -> list[ShardRecord]:
    """The shards that were written whole; what a kill has left behind them counts for nothing."""
    try:
        content = (folder / JOURNAL).read_bytes()
    except FileNotFoundError:
        return []
    records = []
    for line in content.split(b"\n")[:-1]:
        try:
            values = json.loads(line)
            record = ShardRecord(**values | {"after": Position(**values["after"])})
        except (ValueError, TypeError, KeyError):
            break
        if not all(has_size(folder, file) for split in SPLITS for file in getattr(record, split)["files"]):
            break
        records.append(record)
    kept = "".join(json.dumps(asdict(record)) + "\n" for record in records).encode()
    if kept != content:  # nothing is added behind half a line
        write_atomically(folder / JOURNAL, kept)
    return records


def write_index(folder: Path, records: list[ShardRecord], described: dict[str, Any], dtype: np.dtype) -> None:
    """Write what the folder holds, and remove the journal."""
    splits = {
        split: {
            **{
                name: sum(getattr(record, split)[name] for record in records)
                for name in ("tokens", "documents", "bytes")
            },
            "shards": [getattr(record, split)["files"] for record in records if getattr(record, split)["files"]],
        }
        for split in SPLITS
    }
    index = described | {"sha256": records[-1].digest, "dtype": dtype.name, **splits}
    write_atomically(folder / "index.json", to_json(index))
    (folder / JOURNAL).unlink()
    sync_folder(folder)


def has_size(folder: Path, file: dict[str, Any]) -> bool:
    """Whether a file is there, with as many bytes as were written."""
    try:
        return (folder / file["name"]).stat().st_size == file["size"]
    except OSError:
        return False


def _write_array(path: Path, chunks: list[np.ndarray], dtype: np.dtype) -> dict[str, Any]:
    """Write chunks as one ``.npy`` file: to another name first, so that a file of this name is whole."""
    header = io.BytesIO()
    length = sum(map(len, chunks))
    stored = dtype.newbyteorder("<")
    arrays = (np.ascontiguousarray(chunk, stored) for chunk in chunks)
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(stored), "fortran_order": False, "shape": (length,)}
    )
    digest, partial = hashlib.sha256(), path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        for content in chain([header.getvalue()], (array.tobytes() for array in arrays)):
            file.write(content)
            digest.update(content)
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
    return {"name": path.name, "size": size, "sha256": digest.hexdigest()}
