"""Byte-pair encoding, learned from the training text."""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer, smallest_dtype, to_utf8
from zoo.tokenizers.chunks import chunks

if TYPE_CHECKING:
    import tokenizers

_BYTES = 256
_MAX_VOCABULARY = 2**20
_CHUNKS_AT_ONCE = 64
"""The library encodes them in parallel, and needs some hundred bytes a token meanwhile."""


class BpeTokenizer(Tokenizer):
    """Byte-level byte-pair encoding, learned from the training text and cut into words as in GPT-2.

    The 256 bytes come first, so that every text can be written; then the merges, in the order learned.

    Options:
        vocab_size: bytes and merges; fewer come out where the text has no more pairs that occur twice.

    Source: Sennrich et al. 2016, arXiv:1508.07909.
    """

    paper = "Sennrich et al. 2016, arXiv:1508.07909"

    def __init__(self, vocab_size: int = 4096) -> None:
        if not _BYTES <= vocab_size <= _MAX_VOCABULARY:
            raise ValueError(
                f"vocab_size={vocab_size!r} should be a whole number from {_BYTES} (bytes alone) to {_MAX_VOCABULARY}"
            )
        super().__init__()
        self._wanted = vocab_size

    def fit(self, train_text: str, whole_text: str) -> None:  # noqa: ARG002 - nothing is learned from the validation text
        """Learn the merges from the training text."""
        self._learn(chunks(train_text))

    def fit_stream(self, train_texts: Iterable[str], whole_texts: Iterable[str]) -> None:  # noqa: ARG002 - as in `fit`
        """Learn the merges from the training texts, a text at a time."""
        self._learn(chunk for text in train_texts for chunk in chunks(text))

    def _learn(self, texts: Iterable[str]) -> None:
        require_library("bpe")
        from tokenizers import Tokenizer as Model
        from tokenizers import decoders, models, pre_tokenizers, trainers

        model = Model(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self._wanted,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator(texts, trainer)
        self._take(model)

    def _take(self, model: "tokenizers.Tokenizer") -> None:
        """Take the vocabulary of a tokenizer of the library."""
        byte_of = byte_of_letter()
        words = sorted(model.get_vocab().items(), key=lambda entry: entry[1])
        self.pieces = tuple(bytes(byte_of[letter] for letter in word) for word, _ in words)
        self._model = model

    def encode(self, text: str) -> np.ndarray:
        """The tokens of each word, merged in the order learned."""
        to_utf8(text)
        dtype = smallest_dtype(self.vocab_size)
        remaining, tokens = chunks(text), [np.zeros(0, dtype)]
        while batch := list(islice(remaining, _CHUNKS_AT_ONCE)):
            tokens += [np.asarray(encoding.ids, dtype) for encoding in self._model.encode_batch_fast(batch)]
        return np.concatenate(tokens)

    def to_json(self) -> dict[str, Any]:
        """The library's own JSON."""
        return {"model": json.loads(self._model.to_str())}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The tokenizer with saved merges; `UsageError` if the library is missing."""
        require_library("bpe")
        from tokenizers import Tokenizer as Model

        made = cls()
        made._take(Model.from_str(json.dumps(saved["model"])))
        return made


def require_library(name: str) -> None:
    """Refuse, in the name of a tokenizer, to go on without the library tokenizers."""
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        raise UsageError(
            f"the tokenizer {name!r} needs the library tokenizers: pip install 'mixer-zoo[bpe]', or use byte or char"
        ) from None


def byte_of_letter() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others take the letters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(_BYTES) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(_BYTES + index): byte for index, byte in enumerate(others)}
