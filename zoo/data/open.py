"""Which kind of data a name, a path or a mixture stands for, and opening what does not go through memory whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from zoo.data.documents import Documents
from zoo.data.mixture import Mixture, is_mixture, read_mixture, write_mixture
from zoo.data.shards.encode import Encoding, fit_on_mixture
from zoo.data.shards.inputs import (
    Inputs,
    find_inputs,
    inputs_of_corpus,
    inputs_of_mixture,
    inputs_of_text,
    is_glob,
)
from zoo.data.shards.store import is_shards
from zoo.data.source import Source
from zoo.data.streamed import open_given, prepare_inputs
from zoo.data.text import corpus_call, load_text, no_such_data
from zoo.data.token_files import is_token_files, open_token_files
from zoo.data.tokenize import create_tokenizer, read_from_file, read_spec
from zoo.errors import UsageError
from zoo.model.create import create
from zoo.plugin.kinds import CORPUS
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Registry, get_registry
from zoo.tokenizer import Tokenizer

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Reading:
    """How a text is read.

    Attributes:
        tokenizer: see `zoo.data.tokenize.make_tokenizer`.
        validation_fraction: of the text, or of its documents.
        documents: whether they see each other.
        text_field: where the text is in JSON lines and tables.
        threads: processes that encode, at most; None for as many as there are cores.
        cache: see `zoo.data.cache.cache_directory`.
        fitted: the tokenizer, with its vocabulary, where the file of it may not be there.
    """

    tokenizer: str = "byte"
    validation_fraction: float = 0.1
    documents: Documents = "joined"
    text_field: str = "text"
    threads: int | None = None
    cache: Path | None = None
    fitted: Tokenizer | None = None

    @property
    def known_tokenizer(self) -> Tokenizer | None:
        """The tokenizer, if it is known before any text is read."""
        return self.fitted or read_from_file(self.tokenizer)

    @property
    def encoding(self) -> Encoding:
        """The part of it that says how texts are encoded."""
        if not 0 < self.validation_fraction < 1:
            raise UsageError(f"validation_fraction={self.validation_fraction} should lie between 0 and 1, e.g. 0.1")
        call = read_spec(self.tokenizer)
        known = self.fitted is not None or create_tokenizer(self.tokenizer).from_file
        # which file it came from, is no matter: what it holds is asked for wherever it counts
        return Encoding(call.name if known else str(call), self.validation_fraction, self.threads, self.cache)

    def settings(self, data: str) -> dict[str, Any]:
        """The settings of a run that say the same."""
        return {
            "data": data,
            "tokenizer": self.tokenizer,
            "validation_fraction": self.validation_fraction,
            "documents": self.documents,
            "text_field": self.text_field,
        }


def open_streamed(data: str, reading: Reading, registry: Registry | None = None) -> Source | None:
    """The data, if it does not go through memory whole; None for all other text, which `prepare` reads.

    Args:
        data: a mixture, a streaming corpus, a folder of shards or of nanoGPT's tokens, or files of documents.
        reading: how a text is read.
        registry: where to look for corpora; the installed plugins by default.

    Raises:
        UsageError: data that is damaged, cannot be read, or does not fit the settings.
    """
    return _reading_files(data, lambda: _open(data, reading, registry))


def _open(data: str, reading: Reading, registry: Registry | None) -> Source | None:
    if is_mixture(data):
        return _open_mixture(data, reading, registry)
    call = corpus_call(data, registry)
    settings = reading.settings(data)
    if call is not None:
        inputs = _streaming_corpus(call, registry)
    else:
        path = Path(data).expanduser()
        if is_shards(path):
            return open_given(
                path, reading.encoding, reading.known_tokenizer, documents=reading.documents, settings=settings
            )
        if data and is_token_files(path):
            if reading.documents == "separate":
                raise UsageError(f"{path.name} holds tokens and does not say where documents end: leave documents out")
            return open_token_files(
                path, reading.tokenizer, reading.known_tokenizer, settings=settings, cache=reading.cache
            )
        inputs = find_inputs(data, reading.text_field)
    if inputs is None:
        return None
    return prepare_inputs(
        inputs,
        reading.encoding,
        documents=reading.documents,
        settings=settings,
        tokenizer=reading.known_tokenizer,
    )


def is_place(data: str, registry: Registry | None = None) -> bool:
    """Whether something is there under this path or pattern, or all parts of this mixture are."""
    if is_mixture(data):
        parts = read_mixture(data)
        return all(corpus_call(part, registry) is not None or is_place(part, registry) for part in parts)
    return is_glob(data) or Path(data).expanduser().exists()


def absolute(data: str, registry: Registry | None = None) -> str:
    """The same data, whatever folder it is asked for from: with absolute paths."""
    if is_mixture(data):
        return write_mixture({absolute(part, registry): weight for part, weight in read_mixture(data).items()})
    if corpus_call(data, registry) is not None:
        return data
    return str(Path(data).expanduser().absolute())


def _open_mixture(data: str, reading: Reading, registry: Registry | None) -> Mixture:
    weights, encoding, settings = read_mixture(data), reading.encoding, reading.settings(data)
    inputs = {part: _reading_files(part, partial(_part, part, reading, registry)) for part in weights}
    tokenizer = reading.known_tokenizer or fit_on_mixture(
        [(inputs[part], weight) for part, weight in weights.items()], encoding
    )
    # a part may be a single text, which has no documents to keep apart
    parts = [
        prepare_inputs(each, encoding, documents="joined", settings=settings, tokenizer=tokenizer)
        for each in inputs.values()
    ]
    if reading.documents == "separate":
        parts = [replace(part, separate=True) for part in parts]
    name = write_mixture({part.name: weight for part, weight in zip(parts, weights.values(), strict=True)})
    return Mixture(name, parts, list(weights.values()), settings)


def _part(part: str, reading: Reading, registry: Registry | None) -> Inputs:
    """A part of a mixture: files of documents, plain text of any size, or a corpus."""
    call = corpus_call(part, registry)
    if call is not None:
        text = _streaming_corpus(call, registry)
        return text or inputs_of_text(str(call), load_text(part, registry=registry).text)
    path = Path(part).expanduser()
    if is_shards(path) or is_token_files(path):
        raise UsageError(
            f"{part} holds tokens already, and the parts of a mixture are encoded together: name its texts"
        )
    inputs = inputs_of_mixture(part, reading.text_field)
    if inputs is None:
        raise UsageError(no_such_data(part))
    return inputs


def _streaming_corpus(call: Call, registry: Registry | None) -> Inputs | None:
    entry = (registry or get_registry())[CORPUS].find(call.name)
    if not entry.cls.streaming:
        return None
    origin = (entry.origin.distribution, entry.origin.version)
    return inputs_of_corpus(str(call), create(entry, call.keywords), origin)


def _reading_files(data: str, read: Callable[[], _Result]) -> _Result:
    """What `read` gives; a file that cannot be read is an error of the user."""
    try:
        return read()
    except (OSError, RuntimeError) as error:  # the latter comes from ~name where there is no such user
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the data {data!r}: {reason}") from None
