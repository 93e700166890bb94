"""A corpus made ready for training: split by position, encoded, and mapped from disk."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.cache import cache_directory, cached_folder
from zoo.data.documents import SEPARATOR, Documents
from zoo.data.source import Batch, Source
from zoo.data.text import Text, load_text
from zoo.data.tokenize import make_tokenizer, read_from_file, read_spec, tokenizer_as_json, tokenizer_from_json
from zoo.data.tokens import DocumentIds, Tokens
from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer

if TYPE_CHECKING:
    from zoo.model.backbone import Backbone

_PROMPT = "\n"

_FORMAT = 1
"""Counts the ways in which encoded files were laid out; older ones are not read."""


@dataclass(frozen=True, eq=False)
class Dataset(Source):
    """A corpus, split and encoded.

    Attributes:
        name: of the corpus.
        sha256: of the corpus: its whole text in UTF-8.
        tokenizer: with which both splits were encoded, each for itself.
        train: tokens, ``(t,)``, read-only.
        validation: tokens of the end of the text, likewise.
        train_bytes: the length of the training text in UTF-8.
        validation_bytes: the length of the validation text in UTF-8.
        separator: the token that ends a document, where documents are separate.
        settings: see `Source.settings`.
    """

    name: str
    sha256: str
    tokenizer: Tokenizer
    train: Tokens
    validation: Tokens
    train_bytes: int
    validation_bytes: int
    separator: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    writes_text = True

    @property
    def vocab_size(self) -> int:
        """How many tokens the tokenizer has."""
        return self.tokenizer.vocab_size

    def check_context(self, context: int) -> None:
        """Refuse a context that a split cannot fill."""
        shortest = min(len(self.train), len(self.validation))
        parts = f"{len(self.train)} of its tokens are for training and {len(self.validation)} for validation"
        if shortest < 2:
            raise UsageError(f"the data {self.name!r} is too short: {parts}, and each needs 2; pass a longer text")
        if context >= shortest:
            raise UsageError(
                f"context={context} is too long for {self.name!r}: {parts}; choose a `context` below {shortest}, or "
                "more text"
            )
        if self.separator is not None and context < 2:
            raise UsageError("context=1 leaves separate documents nothing to predict: choose a `context` of 2 or more")

    def draw(self, *, context: int, batch: int, step: int, seed: int = 0, stream: int = 0) -> Batch:
        """Windows of the training split, drawn at random; those of another stream are other ones."""
        from zoo.data.batches import draw_batch  # and with it torch, for which preparing a text does not wait

        ids = self.document_ids(self.train)
        return draw_batch(self.train, context=context, batch=batch, seed=seed, step=step, rank=stream, document_ids=ids)

    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """Windows that cover the validation split, or are spread over it."""
        from zoo.data.batches import evaluation_windows

        ids = self.document_ids(self.validation)
        return evaluation_windows(self.validation, context=context, batch=batch, limit=limit, document_ids=ids)

    def document_ids(self, tokens: Tokens) -> DocumentIds | None:  # noqa: ARG002 - the separator is in the windows
        """What numbers the documents of windows of a split; None where documents are joined."""
        from zoo.data.batches import ids_by_separator

        return None if self.separator is None else ids_by_separator(self.separator)

    def bits_per_byte(self, loss: float) -> float:
        """The loss in bits for each byte of the validation text."""
        return bits_per_byte(loss, len(self.validation), self.validation_bytes)

    def sample(self, model: "Backbone", *, tokens: int, seed: int) -> str:
        """So many tokens of text."""
        from zoo.model.generate import generate  # and with it torch

        try:
            ids, prompt = self.tokenizer.encode(_PROMPT), _PROMPT
        except UsageError:  # the vocabulary of a small text may lack the characters of the prompt
            ids, prompt = np.zeros(1, dtype=np.int64), ""
        return prompt + self.tokenizer.decode(generate(model, ids, tokens=tokens, temperature=0.8, seed=seed).tolist())


def prepare(
    data: str | Text,
    tokenizer: str,
    *,
    validation_fraction: float = 0.1,
    documents: Documents = "joined",
    cache: Path | None = None,
    fitted: Tokenizer | None = None,
) -> Dataset:
    """Load, split and encode a corpus.

    The encoded splits lie in the cache, where the next call finds them. Where nothing can be written they stay in
    memory.

    Args:
        data: a corpus, or what names one: see `load_text`.
        tokenizer: see `make_tokenizer`.
        validation_fraction: the share of the characters, at the end of the text, that is not trained on.
        documents: see `load_text`; a corpus that is given knows its own.
        cache: where to keep the encoded splits; `cache_directory` by default.
        fitted: the tokenizer that `tokenizer` names, with its vocabulary, where the file of it may not be there.

    Raises:
        UsageError: data or a tokenizer that is not available, or a split that would be empty.
    """
    spec = str(read_spec(tokenizer))
    corpus = load_text(data, documents=documents) if isinstance(data, str) else data
    train_text, validation_text = split_text(corpus, validation_fraction)

    fitted = fitted or read_from_file(spec)

    def make() -> _Encoded:
        made = fitted or make_tokenizer(spec, train_text, corpus.text)
        return made, made.encode(train_text), made.encode(validation_text)

    # Everything that `make` depends on is in the name. The tokenizer lies beside what it encoded: neither can be
    # taken for another's, and merges are learned once.
    key = json.dumps([_FORMAT, corpus.sha256, tokenizer_as_json(fitted) if fitted else spec, validation_fraction])
    folder = (cache or cache_directory()) / "encoded" / hashlib.sha256(key.encode()).hexdigest()[:32]
    made, train, validation = _read(folder) if cached_folder(folder, lambda empty: _write(empty, make())) else make()
    for tokens in (train, validation):
        tokens.flags.writeable = False
    sizes = len(train_text.encode()), len(validation_text.encode())
    separator = _separator(made) if corpus.documents == "separate" else None
    settings: dict[str, Any] = {"data": data if isinstance(data, str) else corpus.name, "tokenizer": spec}
    settings |= {"validation_fraction": validation_fraction, "documents": corpus.documents}
    return Dataset(corpus.name, corpus.sha256, made, train, validation, *sizes, separator, settings)


def split_text(corpus: Text, validation_fraction: float) -> tuple[str, str]:
    """Cut a text in two by position: first what is trained on, then what is validated on.

    Raises:
        UsageError: a fraction that is not between 0 and 1, or one that leaves a part without a character.
    """
    if not 0 < validation_fraction < 1:
        raise UsageError(f"validation_fraction={validation_fraction} should lie between 0 and 1, e.g. 0.1")
    length = len(corpus.text)
    cut = int(length * (1 - validation_fraction))
    if not 0 < cut < length:
        raise UsageError(
            f"the data {corpus.name!r} is too short to split: of its {length} characters, {cut} are for training and "
            f"{length - cut} for validation; pass a longer text"
        )
    return corpus.text[:cut], corpus.text[cut:]


def bits_per_byte(nats_per_token: float, tokens: int, byte_count: int) -> float:
    """A loss that does not depend on the tokenizer.

    Args:
        nats_per_token: the mean cross-entropy.
        tokens: how many tokens the text has.
        byte_count: how many bytes the same text has in UTF-8.
    """
    return nats_per_token / math.log(2) * tokens / byte_count


def _separator(tokenizer: Tokenizer) -> int:
    tokens = tokenizer.encode(SEPARATOR)
    if len(tokens) != 1:
        raise UsageError(
            f"the tokenizer {tokenizer.name!r} writes the separator of documents (NUL) as {len(tokens)} tokens, and "
            "documents=separate needs one: take another tokenizer, or leave documents out"
        )
    return int(tokens[0])


_Encoded = tuple[Tokenizer, np.ndarray, np.ndarray]


def _write(folder: Path, encoded: _Encoded) -> None:
    made, train, validation = encoded
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_as_json(made)), encoding="utf-8")
    np.save(folder / "train.npy", train)
    np.save(folder / "validation.npy", validation)


def _read(folder: Path) -> _Encoded:
    made = tokenizer_from_json(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))
    return made, np.load(folder / "train.npy", mmap_mode="r"), np.load(folder / "validation.npy", mmap_mode="r")
