"""A token for each byte."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from zoo.tokenizer import Tokenizer, to_utf8


class ByteTokenizer(Tokenizer):
    """The bytes of the text in UTF-8: 256 tokens, and every text can be written."""

    def __init__(self) -> None:
        super().__init__(bytes([byte]) for byte in range(256))

    def encode(self, text: str) -> np.ndarray:
        """The bytes."""
        return np.frombuffer(to_utf8(text), dtype=np.uint8)

    def to_json(self) -> dict[str, Any]:
        """There is nothing to know."""
        return {}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:  # noqa: ARG003 - there is nothing to know
        """The one and only byte tokenizer."""
        return cls()
