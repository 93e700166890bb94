"""What a tokenizer is and promises: a byte string for each token, and a way to cut text into them."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from zoo.errors import UsageError

_FIT_CHARACTERS = 2**26
"""So much of a stream of texts is kept in memory, to learn from."""


def smallest_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds every token of a vocabulary."""
    return np.min_scalar_type(vocab_size - 1)


class Decoder:
    """Turns tokens into text as they come, and holds back the bytes of a character that is not complete yet.

    Args:
        pieces: the bytes for which each token stands.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that has become complete with this token; often all of it, sometimes none."""
        return self._decoder.decode(self._pieces[token])

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was never completed, or nothing."""
        return self._decoder.decode(b"", final=True)


class Tokenizer(ABC):
    """Cuts text into tokens, and joins tokens to text.

    Its options are the keyword parameters of its ``__init__``, with annotations and defaults, as those of a mixer are.
    What it learns from a text it learns in `fit`; afterwards `pieces` never changes.

    Args:
        pieces: the UTF-8 bytes for which each token stands, by token, where they are known before `fit`.
    """

    paper: ClassVar[str] = ""
    """Where it comes from, if it is published."""

    from_file: ClassVar[bool] = False
    """Whether its vocabulary comes from a file that an option names, and not from the texts. `fit` then reads the file,
    and a run that is resumed takes its own copy."""

    name: str = ""
    """The name under which it was asked for, which the zoo sets."""

    def __init__(self, pieces: Iterable[bytes] = (), /) -> None:  # by place alone, so that it is no option
        self.pieces = tuple(pieces)

    def fit(self, train_text: str, whole_text: str) -> None:  # noqa: B027 - most learn nothing
        """Learn a vocabulary. The same texts give the same one.

        Args:
            train_text: what a model is trained on: merges and the like are learned from it alone.
            whole_text: with what is validated on, for a vocabulary that has to be able to write all of it.
        """

    def fit_stream(self, train_texts: Iterable[str], whole_texts: Iterable[str]) -> None:
        """Learn a vocabulary from data that does not fit into memory. By default `fit` gets as much as it can hold.

        Args:
            train_texts: what a model is trained on, a text at a time: about 64 MiB, spread over all of it.
            whole_texts: all texts, with those that are validated on. Both can be gone through again and again, and are
                not read before.
        """
        if type(self).fit is not Tokenizer.fit:
            self.fit("".join(train_texts), "".join(first_characters(whole_texts, _FIT_CHARACTERS)))

    @property
    def vocab_size(self) -> int:
        """The number of different tokens."""
        return len(self.pieces)

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Cut a text.

        Returns:
            The tokens, ``(t,)``, of `smallest_dtype`.

        Raises:
            UsageError: the text cannot be written with this vocabulary.
        """

    def decode(self, tokens: Iterable[int]) -> str:
        """Join tokens to text. Bytes that are no UTF-8, as a model may well sample, become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def decoder(self) -> Decoder:
        """A decoder for tokens that come one by one: what it gives, joined, is what `decode` gives for all of them."""
        return Decoder(self.pieces)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that it takes to make the same tokenizer again, as JSON values."""

    @classmethod
    @abstractmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The tokenizer that gave this JSON."""


def first_characters(texts: Iterable[str], limit: int) -> Iterator[str]:
    """The first texts, so many that they have about as many characters."""
    for text in texts:
        if limit <= 0:
            return
        yield text[:limit]
        limit -= len(text)


def to_utf8(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        UsageError: it holds half a surrogate pair, as a terminal of another encoding may send.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the text has {text[error.start]!a}, which UTF-8 cannot write: send the text as UTF-8"
        ) from None
