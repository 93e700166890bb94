"""A token for each character that the corpus has."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer, smallest_dtype

_SHOWN = 8


class CharTokenizer(Tokenizer):
    """The characters of a text, sorted (as in nanoGPT). Text with other characters cannot be written."""

    def fit(self, train_text: str, whole_text: str) -> None:  # noqa: ARG002 - the validation split is to be written too
        """Take the characters of the whole text as vocabulary."""
        self._take("".join(sorted(set(whole_text))))

    def fit_stream(self, train_texts: Iterable[str], whole_texts: Iterable[str]) -> None:  # noqa: ARG002 - as in `fit`
        """Take the characters of all texts as vocabulary, a text at a time."""
        characters = set[str]()
        for text in whole_texts:
            characters.update(text)
        self._take("".join(sorted(characters)))

    def _take(self, characters: str) -> None:
        """Take a vocabulary, each character once, in the order of the tokens."""
        self.pieces = tuple(character.encode() for character in characters)
        self.characters = characters
        codes = _code_points(characters)
        # One place more than the highest code, for all codes above it. What is left at vocab_size is unknown.
        self._token_of_code = np.full(int(codes.max(initial=0)) + 2, self.vocab_size, dtype=np.uint32)
        self._token_of_code[codes] = np.arange(self.vocab_size)

    def encode(self, text: str) -> np.ndarray:
        """The place of each character in the vocabulary; `UsageError` names those that have none."""
        codes = np.minimum(_code_points(text), len(self._token_of_code) - 1)
        tokens = self._token_of_code[codes]
        if tokens.max(initial=0) >= self.vocab_size:
            raise UsageError(self._unknown(text))
        return tokens.astype(smallest_dtype(self.vocab_size))

    def _unknown(self, text: str) -> str:
        unknown = sorted(set(text) - set(self.characters))
        shown = ", ".join(ascii(character) for character in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        return (
            f"the text has characters outside of the vocabulary: {shown}{more}; a model of characters knows only the "
            f"{self.vocab_size} of its training data: leave the others out, or train on bytes: "
            "zoo train --tokenizer byte"
        )

    def to_json(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"characters": self.characters}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The tokenizer with a saved vocabulary."""
        made = cls()
        made._take(saved["characters"])
        return made


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
