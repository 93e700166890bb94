"""What a tokenizer learns from: texts of the training split, spread over data of any size, and all texts in turn."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from zoo.data.shards.block import Block, texts_of
from zoo.data.shards.read import BLOCK, Reader
from zoo.data.shards.worker import END, digest_of, is_for_validation

SAMPLE = 2**26
"""Bytes of text of which merges and the like are learned."""

_UNPACKED = {"jsonl.gz": 4, "jsonl.zst": 4, "parquet": 2}
"""How many times more bytes come out of a file than it has, about."""


def choose_threshold(reader: Reader, validation_fraction: float) -> int:
    """Below which number a document is for validation, so that about this fraction of the documents is.

    If none is, or all are, it is the one with the lowest number, whose text may occur more than once. Documents are
    read until there is one on each side, which in a large collection is soon.

    Returns:
        The number; 0 for a text that is split by position, or if no two documents differ.
    """
    threshold = max(1, int(validation_fraction * 2**64))
    if reader.split_by_position is not None:
        return 0
    lowest, highest = 2**64, -1
    for number in _numbers(reader):
        lowest, highest = min(lowest, number), max(highest, number)
        if lowest < threshold <= highest:
            return threshold
    return lowest + 1 if lowest < highest else 0


def _numbers(reader: Reader) -> Iterator[int]:
    for block in reader.blocks():
        for digest in _digests(block, reader.inputs.field):
            yield int.from_bytes(digest[:8], "big")


def _digests(block: Block, field: str) -> Iterator[bytes]:
    if block.piece is not None:
        return iter([block.piece.digest])
    return map(digest_of, texts_of(block, field))


@dataclass(frozen=True)
class TrainingSample:
    """Texts of the training split, spread over all of it, again and again.

    Args:
        reader: of the documents.
        threshold: see `choose_threshold`.
        limit: about so many bytes, in whole blocks.
    """

    reader: Reader
    threshold: int
    limit: int = SAMPLE

    def __iter__(self) -> Iterator[str]:
        inputs = self.reader.inputs
        expected = sum(file.size * _UNPACKED.get(file.form, 1) for file in inputs.files)
        total, chosen = max(1, math.ceil(expected / BLOCK)), max(1, self.limit // BLOCK)
        left = self.limit
        for number, block in enumerate(self.reader.blocks()):
            # every total-th of the blocks, evenly; all of them where there are few, or nobody knows how many
            if total <= chosen or number * chosen // total != (number + 1) * chosen // total:
                yield from self._training_texts(block)
                left -= len(block.payload)
            if left <= 0:
                return

    def _training_texts(self, block: Block) -> Iterator[str]:
        piece = block.piece
        if piece is None:
            for text in texts_of(block, self.reader.inputs.field):
                if not is_for_validation(digest_of(text), self.threshold):
                    yield text + END
        elif not (is_for_validation(piece.digest, self.threshold) if piece.validation is None else piece.validation):
            yield block.payload.decode() + (END if piece.ends else "")


@dataclass(frozen=True)
class AllTexts:
    """All texts, those for validation too, again and again."""

    reader: Reader

    def __iter__(self) -> Iterator[str]:
        for block in self.reader.blocks():
            for text in texts_of(block, self.reader.inputs.field):
                yield text + END
