"""From files of documents to shards in the cache: made once, by whichever process comes first."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zoo.data.cache import cache_directory
from zoo.data.shards.fit import SAMPLE, AllTexts, TrainingSample, choose_threshold
from zoo.data.shards.inputs import Inputs, key_of
from zoo.data.shards.pool import MAX_PROCESSES, EncodingPool
from zoo.data.shards.progress import EncodingProgress, report
from zoo.data.shards.read import Reader
from zoo.data.shards.store import FORMAT, is_complete
from zoo.data.shards.worker import Job
from zoo.data.shards.write import ShardWriter, read_journal, write_index
from zoo.data.tokenize import create_tokenizer, tokenizer_as_json, tokenizer_from_json
from zoo.errors import UsageError, ZooError
from zoo.files.atomic import sync_folder, write_atomically
from zoo.files.strict_json import to_json
from zoo.tokenizer import Tokenizer, smallest_dtype

_FEW = 2**23
"""Bytes of files that one process encodes in less time than others take to start."""

_BETWEEN_REPORTS = 0.1
"""Seconds."""

_LOCK_POLL = 1.0
"""Seconds between two looks at whether another process has made the shards."""

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}

_PLAN, _TOKENIZER = "plan.json", "tokenizer.json"


@dataclass(frozen=True)
class Encoding:
    """How texts are encoded.

    Attributes:
        tokenizer: what was asked for, in canonical form.
        validation_fraction: see `zoo.data.shards.fit.choose_threshold`.
        threads: processes at most; None for as many as there are cores. It changes nothing of what comes out.
        cache: where the shards are kept; `cache_directory` by default.
    """

    tokenizer: str
    validation_fraction: float
    threads: int | None = None
    cache: Path | None = None

    @property
    def folder(self) -> Path:
        """In which the shards of all data are."""
        return (self.cache or cache_directory()) / "shards"

    @property
    def processes(self) -> int:
        """How many processes encode."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(MAX_PROCESSES, self.threads or cores))


def encode_inputs(inputs: Inputs, encoding: Encoding, tokenizer: Tokenizer | None = None) -> Path:
    """The folder of the shards of these files, made unless it is there.

    Another process that makes the same shards is waited for. What was interrupted goes on after its last whole shard,
    and ends in the same bytes.

    Args:
        inputs: the files.
        encoding: how they are encoded.
        tokenizer: with a vocabulary already; by default the one that `encoding` names learns its own from the files.

    Raises:
        UsageError: files that cannot be read or written, or too few documents.
    """
    learned = None if tokenizer is None else tokenizer_as_json(tokenizer)
    key = key_of(FORMAT, inputs.identity, encoding.tokenizer, encoding.validation_fraction, learned)
    folder = encoding.folder / key

    def make() -> None:
        staged = folder.with_name(f"{key}.partial")
        staged.mkdir(exist_ok=True)
        _encode(inputs, encoding, tokenizer, staged)
        if folder.exists():  # damaged
            shutil.rmtree(folder)
        staged.rename(folder)
        sync_folder(folder.parent)

    made_once(folder, lambda: is_complete(folder), make)
    return folder


def fit_on_mixture(parts: Iterable[tuple[Inputs, float]], encoding: Encoding) -> Tokenizer:
    """The tokenizer for several data: it learns from each in proportion to its weight."""
    weighted = list(parts)
    identity = [[inputs.identity, weight] for inputs, weight in weighted]
    key = key_of(FORMAT, "mixture", identity, encoding.tokenizer, encoding.validation_fraction)
    path = encoding.folder / f"{key}.{_TOKENIZER}"

    def make() -> None:
        samples, texts = list[TrainingSample](), list[AllTexts]()
        for inputs, weight in weighted:
            reader = Reader(inputs, encoding.validation_fraction)
            threshold = choose_threshold(reader, encoding.validation_fraction)
            samples.append(TrainingSample(reader, threshold, max(1, int(SAMPLE * weight))))
            texts.append(AllTexts(reader))
        tokenizer = create_tokenizer(encoding.tokenizer)
        tokenizer.fit_stream(_Chained(samples), _Chained(texts))
        write_atomically(path, to_json(tokenizer_as_json(tokenizer)))

    made_once(path, path.is_file, make)
    return tokenizer_from_json(json.loads(path.read_bytes()))


@dataclass(frozen=True)
class _Chained:
    parts: Iterable[Iterable[str]]

    def __iter__(self) -> Any:
        return chain.from_iterable(self.parts)


def made_once(path: Path, is_made: Callable[[], bool], make: Callable[[], None]) -> None:
    """Make something in the cache, unless it is there or another process makes it.

    Raises:
        UsageError: the cache cannot be written.
    """
    if is_made():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.lock")
        lock = FileLock(probe)
        while not is_made():
            try:
                with lock.acquire(timeout=_LOCK_POLL):
                    if not is_made():
                        make()
            except Timeout:  # another process is at it
                continue
    except OSError as error:
        if error.errno not in _UNWRITABLE or _is_elsewhere(error, path.parent):
            raise
        raise UsageError(
            f"cannot write to the cache {path.parent} ({error.strerror}): make room, or set ZOO_CACHE to another folder"
        ) from None
    except NotImplementedError:
        raise UsageError(
            f"the file system of the cache {path.parent} knows no locks: set ZOO_CACHE to a folder on another one"
        ) from None


def _is_elsewhere(error: OSError, folder: Path) -> bool:
    """Whether the file that the error names is not in this folder, but one that is read."""
    return error.filename is not None and folder not in Path(str(error.filename)).parents


def _encode(inputs: Inputs, encoding: Encoding, tokenizer: Tokenizer | None, folder: Path) -> None:
    reader = Reader(inputs, encoding.validation_fraction)
    tokenizer, threshold = _planned(reader, encoding, tokenizer, folder)
    dtype = smallest_dtype(tokenizer.vocab_size)
    writer = ShardWriter(folder, dtype, read_journal(folder))
    total, began = inputs.size, time.monotonic()
    first = done = writer.records[-1].done if writer.records else 0
    last_report, after = 0.0, writer.start
    pool = EncodingPool(encoding.processes if total > _FEW or not total else 1, tokenizer, Job(inputs.field, threshold))
    for block, encoded in pool.encoded(reader.blocks(writer.start)):
        writer.add(encoded, block.after, block.done)
        after, done, now = block.after, block.done, time.monotonic()
        if now - last_report >= _BETWEEN_REPORTS:
            last_report = now
            speed = (done - first) / max(now - began, 1e-9)
            report(EncodingProgress(inputs.name, done, total, writer.documents, speed))
    writer.close(after, done)
    _check(inputs, writer)
    described = {
        "format": FORMAT,
        "name": inputs.name,
        "tokenizer": encoding.tokenizer,
        "vocab_size": tokenizer.vocab_size,
        "validation_fraction": encoding.validation_fraction,
        "split": "position" if reader.split_by_position is not None else "document",
        "text_field": inputs.field,
        "forms": inputs.forms,
        "input_files": len(inputs.files),
        "input_bytes": inputs.size,
    }
    write_index(folder, writer.records, described, dtype)
    (folder / _PLAN).unlink()


def _planned(reader: Reader, encoding: Encoding, tokenizer: Tokenizer | None, folder: Path) -> tuple[Tokenizer, int]:
    """The tokenizer and the threshold: as an interrupted encoding left them, or found and written down."""
    try:
        threshold = json.loads((folder / _PLAN).read_bytes())["threshold"]
        return tokenizer_from_json(json.loads((folder / _TOKENIZER).read_bytes())), threshold
    except (OSError, ValueError, KeyError, ZooError):
        for path in folder.iterdir():
            path.unlink()
    threshold = choose_threshold(reader, encoding.validation_fraction)
    if threshold == 0 and reader.split_by_position is None:
        raise UsageError(
            f"the data {reader.inputs.name!r} has fewer than two different documents, and validation takes whole ones: "
            "pass more of them, or plain text"
        )
    if tokenizer is None:
        tokenizer = create_tokenizer(encoding.tokenizer)
        tokenizer.fit_stream(TrainingSample(reader, threshold), AllTexts(reader))
    write_atomically(folder / _TOKENIZER, to_json(tokenizer_as_json(tokenizer)))
    write_atomically(folder / _PLAN, to_json({"threshold": threshold}))
    return tokenizer, threshold


def _check(inputs: Inputs, writer: ShardWriter) -> None:
    for split in ("train", "validation"):
        if not any(getattr(record, split)["tokens"] for record in writer.records):
            raise UsageError(
                f"the data {inputs.name!r} has no text for {split}: choose another `validation_fraction`, or pass more "
                "text"
            )
