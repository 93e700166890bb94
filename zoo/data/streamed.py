"""A text of any size, mapped from the shards to which it was encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.dataset import Dataset
from zoo.data.documents import Documents
from zoo.data.shards.encode import Encoding, encode_inputs
from zoo.data.shards.inputs import Inputs
from zoo.data.shards.store import open_shards
from zoo.data.tokens import DocumentIds, ShardedTokens, Tokens
from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class ShardedText(Dataset):
    """A text in shards.

    Attributes:
        folder: of the shards.
        index: what the folder says of itself.
        separate: whether documents do not see each other.
    """

    folder: Path = Path()
    index: Mapping[str, Any] | None = field(default=None, repr=False)
    separate: bool = False

    def check_context(self, context: int) -> None:
        """Refuse a context that a split cannot fill."""
        super().check_context(context)
        if self.separate and context < 2:
            raise UsageError("context=1 leaves separate documents nothing to predict: choose a `context` of 2 or more")

    def document_ids(self, tokens: Tokens) -> DocumentIds | None:
        """What numbers the documents of windows: each starts where the shards say."""
        if not self.separate:
            return None
        assert isinstance(tokens, ShardedTokens)

        def ids(windows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
            return tokens.document_ids(offsets, windows.shape[1])

        return ids


def open_text(
    folder: Path, *, documents: Documents, settings: Mapping[str, Any], name: str | None = None
) -> ShardedText:
    """The text in a folder of shards.

    Args:
        folder: of the shards.
        documents: whether they see each other.
        settings: see `zoo.data.source.Source.settings`.
        name: of the data; by default what was encoded.

    Raises:
        UsageError: damage; or separate documents are asked of a single text.
    """
    index, tokenizer, train, validation = open_shards(folder)
    if documents == "separate" and index["split"] == "position":
        raise UsageError(
            f"the data {index['name']!r} is a single document, and documents=separate needs several: pass more of "
            "them, or leave documents out"
        )
    return ShardedText(
        name or index["name"],
        index["sha256"],
        tokenizer,
        train,
        validation,
        index["train"]["bytes"],
        index["validation"]["bytes"],
        settings=settings,
        folder=folder,
        index=index,
        separate=documents == "separate",
    )


def prepare_inputs(
    inputs: Inputs,
    encoding: Encoding,
    *,
    documents: Documents,
    settings: Mapping[str, Any],
    tokenizer: Tokenizer | None = None,
) -> ShardedText:
    """Encode files of documents, unless their shards are in the cache, and open them.

    Raises:
        UsageError: files that cannot be read, or too few documents. And as `open_text`.
    """
    folder = encode_inputs(inputs, encoding, tokenizer)
    return open_text(folder, documents=documents, settings=settings, name=inputs.name)


def open_given(
    folder: Path, encoding: Encoding, known: Tokenizer | None, *, documents: Documents, settings: Mapping[str, Any]
) -> ShardedText:
    """The shards that the user names.

    Args:
        folder: of the shards.
        encoding: how they should have been encoded.
        known: the tokenizer, if its vocabulary comes from a file.
        documents, settings: see `open_text`.

    Raises:
        UsageError: they were encoded in another way than is asked for.
    """
    text = open_text(folder, documents=documents, settings=settings)
    assert text.index is not None
    made: dict[str, Any] = {name: text.index[name] for name in ("tokenizer", "validation_fraction")}
    asked = {"tokenizer": encoding.tokenizer, "validation_fraction": encoding.validation_fraction}
    for name, value in made.items():
        if asked[name] != value:
            raise UsageError(
                f"the shards in {folder} were encoded with {name}={value}, and {name}={asked[name]} was asked for: "
                f"pass `{name}`={value!r}, or the data itself"
            )
    if known is not None and known.pieces != text.tokenizer.pieces:
        raise UsageError(
            f"the shards in {folder} have the vocabulary of another tokenizer.json: pass the one with which they were "
            "encoded as `tokenizer`"
        )
    return text
