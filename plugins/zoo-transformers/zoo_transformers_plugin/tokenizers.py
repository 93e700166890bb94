"""Tokenizers of pretrained models, read from their ``tokenizer.json``, and token numbers where a model has none."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo import Tokenizer, UsageError
from zoo.tokenizer import smallest_dtype
from zoo.tokenizers.bpe import byte_of_letter

if TYPE_CHECKING:
    import tokenizers

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""What sentencepiece writes for a space."""


class CheckpointTokenizer(Tokenizer):
    """The tokenizer of an imported model, from its file ``tokenizer.json``, with as many tokens as the model has.

    Nothing is learned. Special tokens are recognised in a text and none are added to it. Vocabularies of bytes (GPT-2)
    and of sentencepiece (Llama 2) are known.

    Options:
        path: of ``tokenizer.json``.
        vocab_size: tokens in all, where the model has more than its tokenizer; None for those of the file.
    """

    paper = "of the model that it comes from"
    from_file = True

    def __init__(self, path: str = "", vocab_size: int | None = None) -> None:
        super().__init__()
        self._path, self._wanted = path, vocab_size

    def fit(self, train_text: str, whole_text: str) -> None:  # noqa: ARG002 - nothing is learned
        """Read the file.

        Raises:
            UsageError: it is not there, or no tokenizer that is known.
        """
        if not self._path:
            raise UsageError("the tokenizer 'checkpoint' needs a file: checkpoint(path='gpt2/tokenizer.json')")
        try:
            content = Path(self._path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise UsageError(f"cannot read the tokenizer {self._path}: {reason}") from None
        self._read(content, self._wanted)

    def fit_stream(self, train_texts: Iterable[str], whole_texts: Iterable[str]) -> None:  # noqa: ARG002 - likewise
        """Read the file, and none of the texts."""
        self.fit("", "")

    def encode(self, text: str) -> np.ndarray:
        """The tokens of a text."""
        try:
            ids = self.model.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises nothing more exact, e.g. for half a surrogate pair
            raise UsageError(f"the tokenizer cannot read the text: {' '.join(str(error).split())}") from None
        return np.asarray(ids, smallest_dtype(self.vocab_size))

    def to_json(self) -> dict[str, Any]:
        """The library's own JSON, and how many tokens there are."""
        return {"model": json.loads(self.model.to_str()), "vocab_size": self.vocab_size}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The tokenizer that gave this JSON."""
        made = cls()
        made._read(json.dumps(saved["model"]), saved["vocab_size"])
        return made

    def _read(self, text: str, size: int | None) -> None:
        from tokenizers import Tokenizer as Model

        try:
            self.model = Model.from_str(text)
        except Exception as error:  # likewise
            raise UsageError(f"{self._path or 'it'} is no tokenizer: {' '.join(str(error).split())}") from None
        self.pieces = pieces_of(self.model, size)


class TokenIds(Tokenizer):
    """The numbers of tokens as text, ``12 7 3``, for a model that came without a tokenizer.

    Options:
        vocab_size: how many tokens there are.
    """

    paper = "none needed"

    def __init__(self, vocab_size: int = 256) -> None:
        if vocab_size < 1:
            raise ValueError(f"vocab_size={vocab_size} should be 1 or more")
        super().__init__(f" {number}".encode() for number in range(vocab_size))

    def encode(self, text: str) -> np.ndarray:
        """The numbers.

        Raises:
            UsageError: something else stands in the text, or a number that is no token.
        """
        words = text.split()
        wrong = [word for word in words if not (word.isascii() and word.isdigit() and int(word) < self.vocab_size)]
        if wrong:
            raise UsageError(
                f"the model came without a tokenizer and reads numbers from 0 to {self.vocab_size - 1}, with spaces "
                f"between them, and the text has {wrong[0][:20]!r}"
            )
        return np.array([int(word) for word in words], smallest_dtype(self.vocab_size))

    def to_json(self) -> dict[str, Any]:
        """How many tokens there are."""
        return {"vocab_size": self.vocab_size}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The tokenizer of so many tokens."""
        return cls(saved["vocab_size"])


def pieces_of(model: "tokenizers.Tokenizer", size: int | None = None) -> tuple[bytes, ...]:
    """The bytes for which each token of a tokenizer stands.

    Args:
        model: of the library.
        size: how many tokens; those that the tokenizer lacks stand for nothing.

    Raises:
        UsageError: it writes tokens in a way that is not known, or has more of them.
    """
    words = {number: word for word, number in model.get_vocab(with_added_tokens=True).items()}
    count = max(words, default=-1) + 1
    if size is not None and count > size:
        raise UsageError(f"the tokenizer has {count} tokens, and the model {size}: they do not belong together")
    whole = {number: token.content for number, token in model.get_added_tokens_decoder().items()}
    to_bytes = _reader(json.loads(model.to_str()))
    pieces = []
    for number in range(count if size is None else size):
        word = words.get(number, "")
        pieces.append(whole[number].encode() if number in whole else to_bytes(word))
    return tuple(pieces)


def _reader(saved: Mapping[str, Any]) -> Callable[[str], bytes]:
    """From a word of the vocabulary to its bytes, by the way in which the tokenizer decodes."""
    kinds = set(_decoders(saved.get("decoder")))
    if "ByteLevel" in kinds:
        byte_of = byte_of_letter()
        return lambda word: bytes(byte_of[letter] for letter in word)
    if kinds & {"Metaspace", "ByteFallback", "Fuse"}:
        return _sentencepiece
    raise UsageError(
        f"the tokenizer decodes with {', '.join(sorted(kinds)) or 'nothing'}, which is not known: expected one of "
        "bytes, as GPT-2 has, or of sentencepiece"
    )


def _decoders(saved: Mapping[str, Any] | None) -> Iterator[str]:
    if saved is not None:
        yield str(saved["type"])
        for inner in saved.get("decoders", ()):
            yield from _decoders(inner)


def _sentencepiece(word: str) -> bytes:
    found = _BYTE.fullmatch(word)
    return bytes([int(found[1], 16)]) if found else word.replace(_SPACE, " ").encode()
