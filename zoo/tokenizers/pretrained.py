"""The tokenizer of a pretrained model, from its file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zoo.errors import UsageError
from zoo.tokenizer import Tokenizer, smallest_dtype, to_utf8
from zoo.tokenizers.bpe import byte_of_letter, require_library

if TYPE_CHECKING:
    import tokenizers

_FILE = "tokenizer.json"

_PROBE = "Hello, world! It's 1234.5\n\n\tif x == 'é':  # 日本語 😀\r\n  end  "
"""Text that a tokenizer has to give back as it was."""


class PretrainedTokenizer(Tokenizer):
    """A `tokenizer.json`, as the library tokenizers and the models of Hugging Face have it.

    It has to give text back as it was: byte-level ones do, as those of GPT-2, Llama 3 and Qwen. Its special tokens are
    tokens of their text, and none is added. A run keeps a copy and needs the file no more.

    Options:
        path: of the file, or of a folder that has one.
    """

    from_file = True

    def __init__(self, path: str = "") -> None:
        super().__init__()
        self._path = path

    def fit(self, train_text: str, whole_text: str) -> None:  # noqa: ARG002 - it has been learned
        """Read the file; `UsageError` if it is not there, or loses text."""
        self._read()

    def fit_stream(self, train_texts: object, whole_texts: object) -> None:  # noqa: ARG002 - it has been learned
        """Read the file, and none of the texts."""
        self._read()

    def _read(self) -> None:
        if not self._path:
            raise UsageError("the tokenizer 'pretrained' needs a file: pretrained(path='tokenizer.json')")
        path = Path(self._path).expanduser()
        path = path / _FILE if path.is_dir() else path
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise UsageError(f"cannot read the tokenizer {str(path)!r}: {reason}") from None
        require_library("pretrained")
        from tokenizers import Tokenizer as Model

        try:
            model = Model.from_str(content)
        except Exception as error:  # the library raises nothing more exact
            cause = " ".join(str(error).split())[:100]
            raise UsageError(f"{path} is no tokenizer.json of the library tokenizers ({cause})") from None
        self._take(model)
        if self.vocab_size == 0 or self.decode(self.encode(_PROBE)) != _PROBE:
            raise UsageError(
                f"the tokenizer {path} does not give text back as it was: take a byte-level one, as that of GPT-2, or "
                "bpe"
            )

    def _take(self, model: "tokenizers.Tokenizer") -> None:
        model.no_padding()
        model.no_truncation()
        added = {token: str(entry.content) for token, entry in model.get_added_tokens_decoder().items()}
        letters = byte_of_letter()
        pieces = [b""] * (1 + max([*added, *model.get_vocab().values()], default=-1))
        for word, token in model.get_vocab().items():
            if token in added:
                pieces[token] = added[token].encode()
            elif set(word) <= letters.keys():
                pieces[token] = bytes(letters[letter] for letter in word)
            else:
                pieces[token] = word.encode()
        self.pieces = tuple(pieces)
        self._model = model

    def encode(self, text: str) -> np.ndarray:
        """The tokens of the text, with no special token before or behind it."""
        to_utf8(text)
        return np.asarray(self._model.encode(text, add_special_tokens=False).ids, smallest_dtype(self.vocab_size))

    def to_json(self) -> dict[str, Any]:
        """The library's own JSON."""
        return {"model": json.loads(self._model.to_str())}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """The tokenizer of a file that was read before; `UsageError` if the library is missing."""
        require_library("pretrained")
        from tokenizers import Tokenizer as Model

        made = cls()
        made._take(Model.from_str(json.dumps(saved["model"])))
        return made
