"""Encoding a block of documents, in whatever process."""

import hashlib
from dataclasses import dataclass

import numpy as np

from zoo.data.shards.block import Block, texts_of
from zoo.errors import PluginError, UsageError, ZooError
from zoo.tokenizer import Tokenizer, smallest_dtype

END = "\n"
"""What follows each document, as it does between the files of a joined text."""

DIGEST = 32
"""Bytes of the SHA-256 of a document."""


@dataclass(frozen=True)
class Job:
    """What holds for all blocks.

    Attributes:
        field: of JSON lines, where the text is.
        threshold: a document is for validation if the first eight bytes of its digest, as a number, are below it.
    """

    field: str
    threshold: int


@dataclass(frozen=True)
class EncodedPart:
    """The documents of a block that belong to one split.

    Attributes:
        tokens: of all of them, ``(t,)``.
        starts: where in them each document starts, int64.
        text_bytes: their length in UTF-8, with what follows each.
    """

    tokens: np.ndarray
    starts: np.ndarray
    text_bytes: int


@dataclass(frozen=True)
class EncodedBlock:
    """The documents of a block, by split.

    Attributes:
        train: for training.
        validation: for validation.
        digests: of the documents that start in the block, in their order.
    """

    train: EncodedPart
    validation: EncodedPart
    digests: bytes


def is_for_validation(digest: bytes, threshold: int) -> bool:
    """Whether a document is for validation. Equal texts have equal digests and fall on one side."""
    return int.from_bytes(digest[:8], "big") < threshold


def digest_of(text: str) -> bytes:
    """By which a document is known: SHA-256 of its text in UTF-8."""
    return hashlib.sha256(text.encode()).digest()


class _Part:
    """An `EncodedPart` that grows."""

    def __init__(self) -> None:
        self.tokens: list[np.ndarray] = []
        self.starts: list[int] = []
        self.length = self.text_bytes = 0

    def add(self, tokens: np.ndarray, size: int, *, starts: bool = True) -> None:
        if starts:
            self.starts.append(self.length)
        self.tokens.append(tokens)
        self.length += len(tokens)
        self.text_bytes += size

    def made(self, dtype: np.dtype) -> EncodedPart:
        tokens = np.concatenate(self.tokens).astype(dtype, copy=False) if self.tokens else np.zeros(0, dtype)
        return EncodedPart(tokens, np.array(self.starts, np.int64), self.text_bytes)


def encode_block(block: Block, tokenizer: Tokenizer, job: Job) -> EncodedBlock:
    """Encode the documents of a block.

    Raises:
        UsageError: a document that cannot be read, or not be written with this vocabulary.
        PluginError: the tokenizer fails.
    """
    train, validation, digests = _Part(), _Part(), list[bytes]()
    if block.piece is not None:
        piece = block.piece
        text = block.payload.decode() + (END if piece.ends else "")
        apart = is_for_validation(piece.digest, job.threshold) if piece.validation is None else piece.validation
        if piece.starts:
            digests.append(piece.digest)
        part = validation if apart else train
        part.add(_encode(text, tokenizer, block.name), len(block.payload) + piece.ends, starts=piece.starts)
    else:
        for text in texts_of(block, job.field):
            content = text.encode()
            digest = hashlib.sha256(content).digest()
            digests.append(digest)
            part = validation if is_for_validation(digest, job.threshold) else train
            part.add(_encode(text + END, tokenizer, block.name), len(content) + len(END))
    dtype = smallest_dtype(tokenizer.vocab_size)
    return EncodedBlock(train.made(dtype), validation.made(dtype), b"".join(digests))


def _encode(text: str, tokenizer: Tokenizer, name: str) -> np.ndarray:
    try:
        return tokenizer.encode(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    except ZooError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"the tokenizer {tokenizer.name!r} failed to encode a document of {name}: {cause}") from error
