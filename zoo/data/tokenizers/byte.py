"""A token for each byte."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from zoo.data.tokenizers.base import Tokenizer, to_utf8


class ByteTokenizer(Tokenizer):
    """The bytes of the text in UTF-8: 256 tokens, and every text can be written."""

    name = "byte"

    def __init__(self) -> None:
        super().__init__(bytes([byte]) for byte in range(256))

    def encode(self, text: str) -> np.ndarray:
        """The bytes."""
        return np.frombuffer(to_utf8(text), dtype=np.uint8)

    def to_json(self) -> dict[str, Any]:
        """There is nothing but the name."""
        return {"name": self.name}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The one and only byte tokenizer."""
        assert saved["name"] == cls.name
        return cls()
