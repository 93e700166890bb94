"""Tokens without a text: the ``train.bin`` and ``val.bin`` that nanoGPT's scripts write."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.cache import cache_directory
from zoo.data.dataset import Dataset
from zoo.data.shards.encode import made_once
from zoo.data.shards.inputs import key_of
from zoo.data.source import Batch, Source
from zoo.errors import UsageError
from zoo.files.atomic import write_atomically
from zoo.files.strict_json import to_json
from zoo.tokenizer import Tokenizer

TRAIN, VALIDATION = "train.bin", "val.bin"

_TOKEN = np.dtype("<u2")
_AT_ONCE = 2**22


def is_token_files(folder: Path) -> bool:
    """Whether a folder has both files."""
    return (folder / TRAIN).is_file() and (folder / VALIDATION).is_file()


@dataclass(frozen=True, eq=False)
class TokenData(Source):
    """Tokens of which nothing is known but their numbers: what a model writes cannot be read.

    Attributes:
        name: of the folder.
        sha256: of both files.
        train, validation: tokens, ``(t,)``, mapped from the files.
        highest: the highest token in either.
    """

    name: str
    sha256: str
    train: np.ndarray
    validation: np.ndarray
    highest: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    tokenizer = None

    @property
    def vocab_size(self) -> int:
        """One more than the highest token that occurs."""
        return self.highest + 1

    def check_context(self, context: int) -> None:
        """Refuse a context that a split cannot fill."""
        shortest = min(len(self.train), len(self.validation))
        if context >= shortest:
            raise UsageError(
                f"context={context} is too long for {self.name!r}: {len(self.train)} of its tokens are for training "
                f"and {len(self.validation)} for validation; choose a `context` below {shortest}"
            )

    def draw(self, *, context: int, batch: int, step: int, seed: int = 0) -> Batch:
        """Windows of ``train.bin``, drawn at random."""
        from zoo.data.batches import draw_batch

        return draw_batch(self.train, context=context, batch=batch, seed=seed, step=step)

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """Windows that cover ``val.bin``, or are spread over it."""
        from zoo.data.batches import evaluation_windows

        return evaluation_windows(self.validation, context=context, batch=batch, limit=limit)


@dataclass(frozen=True, eq=False)
class TokenText(Dataset):
    """The same with the tokenizer with which the files were written, so that samples can be read."""

    def bits_per_byte(self, loss: float) -> float:
        """The loss in bits for each byte of the validation text, as the tokenizer writes it."""
        return super().bits_per_byte(loss) if self.validation_bytes else math.nan


def open_token_files(
    folder: Path, tokenizer: str, known: Tokenizer | None, *, settings: Mapping[str, Any], cache: Path | None = None
) -> TokenData | TokenText:
    """The data in a folder with ``train.bin`` and ``val.bin``, of 16-bit tokens. ``meta.pkl`` is not read.

    Args:
        folder: with both.
        tokenizer: what was asked for; ``byte``, the default, for tokens without a text.
        known: the tokenizer, if its vocabulary comes from a file.
        settings: see `zoo.data.source.Source.settings`.
        cache: where to remember the checksums; `cache_directory` by default.

    Raises:
        UsageError: a file that is no such file, or a tokenizer with another vocabulary.
    """
    if tokenizer != "byte" and known is None:
        raise UsageError(
            f"{folder.name} holds tokens already, which {tokenizer} did not make: pass the path of their "
            "tokenizer.json as `tokenizer`, or leave it out"
        )
    looked = _look_through(folder, cache)
    train, validation = (np.memmap(folder / name, _TOKEN, mode="r") for name in (TRAIN, VALIDATION))
    if known is None:
        return TokenData(folder.name, looked["sha256"], train, validation, looked["highest"], settings)
    if looked["highest"] >= known.vocab_size:
        raise UsageError(
            f"{folder.name} has the token {looked['highest']}, and the vocabulary of {tokenizer} ends at "
            f"{known.vocab_size - 1}: pass the tokenizer with which the files were written"
        )
    lengths = np.array([len(piece) for piece in known.pieces])
    sizes = (sum(int(lengths[part].sum()) for part in _parts(tokens)) for tokens in (train, validation))
    train_bytes, validation_bytes = sizes
    return TokenText(
        folder.name, looked["sha256"], known, train, validation, train_bytes, validation_bytes, settings=settings
    )


def _look_through(folder: Path, cache: Path | None) -> dict[str, Any]:
    """The checksum and the highest token of both files, which are read once as long as they do not change."""
    paths = [folder.absolute() / name for name in (TRAIN, VALIDATION)]
    for path in paths:
        size = path.stat().st_size
        if size % _TOKEN.itemsize or not size:
            raise UsageError(
                f"{path} has {size} bytes, and tokens of 16 bits make an even number of them: copy it again"
            )
    identity = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    known = (cache or cache_directory()) / "shards" / f"{key_of('tokens', identity)}.json"

    def look() -> None:
        digest, highest = hashlib.sha256(), 0
        for path in paths:
            for part in _parts(np.memmap(path, _TOKEN, mode="r")):
                digest.update(part.tobytes())
                highest = max(highest, int(part.max()))
        write_atomically(known, to_json({"sha256": digest.hexdigest(), "highest": highest}))

    made_once(known, known.is_file, look)
    return dict(json.loads(known.read_bytes()))


def _parts(tokens: np.ndarray) -> Iterator[np.ndarray]:
    return (tokens[start : start + _AT_ONCE] for start in range(0, len(tokens), _AT_ONCE))
