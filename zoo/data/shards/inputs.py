"""Which files of documents a path, a folder or a pattern names, and of which form each is."""

import glob
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoo.corpus import Corpus
from zoo.data.files import list_files
from zoo.errors import UsageError

Form: TypeAlias = Literal["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "text", "corpus"]

LARGE = 2**26
"""Bytes of plain text up to which it is read whole and split by position, as it always was."""

_SUFFIXES: dict[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".jsonl.zst": "jsonl.zst",
    ".parquet": "parquet",
}

_BESIDE = {".md", ".json", ".yaml", ".yml"}
"""What lies beside the files of a data set, and describes them."""


@dataclass(frozen=True)
class InputFile:
    """A file of documents, or what stands for one.

    Attributes:
        name: for errors.
        form: how its documents are laid out.
        size: in bytes; 0 where that is unknown.
        identity: changes when the file does.
        path: None for what is in memory.
        content: of a text in memory.
    """

    name: str
    form: Form
    size: int
    identity: tuple[str | int, ...]
    path: Path | None = None
    content: bytes | None = None


@dataclass(frozen=True)
class Inputs:
    """Files of documents, in the order in which they are read.

    Attributes:
        name: of all of them.
        files: one or more.
        field: where the text is in JSON lines and tables.
        corpus: what gives the documents, instead of files.
    """

    name: str
    files: tuple[InputFile, ...]
    field: str
    corpus: Corpus | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def forms(self) -> list[Form]:
        """Which forms there are, each once."""
        return list(dict.fromkeys(file.form for file in self.files))

    @property
    def identity(self) -> list[Any]:
        """Changes when the files do, or what is read from them."""
        field = self.field if {*self.forms} - {"text", "corpus"} else ""
        return [field, *(list(file.identity) for file in self.files)]


def form_of(path: Path) -> Form:
    """The form of a file, by its name alone."""
    name = path.name.lower()
    return next((form for suffix, form in _SUFFIXES.items() if name.endswith(suffix)), "text")


def is_glob(data: str) -> bool:
    """Whether a path stands for all that match: one of ``*?[`` is in it, and nothing has this very name."""
    return bool(set(data) & set("*?[")) and not Path(data).expanduser().exists()


def find_inputs(data: str, field: str) -> Inputs | None:
    """The files of documents that `data` names; None for plain text that is small, and for what is not there.

    A file is judged by its name and size, never by what is in it. A folder holds documents if all its visible files
    do, but for what describes them; otherwise, as any other one, it holds plain text.

    Raises:
        UsageError: a pattern that matches nothing.
        OSError: a folder that cannot be read.
    """
    inputs = inputs_of_mixture(data, field)
    if inputs is None or (inputs.forms == ["text"] and inputs.size <= LARGE and not is_glob(data)):
        return None
    return inputs


def inputs_of_mixture(data: str, field: str) -> Inputs | None:
    """As `find_inputs`, and plain text of any size too."""
    files = _files(data)
    return Inputs(_name(data), tuple(files), field) if files else None


def inputs_of_text(name: str, text: str) -> Inputs:
    """A text in memory as the only document."""
    content = text.encode()
    identity = ("text", hashlib.sha256(content).hexdigest())
    return Inputs(name, (InputFile(name, "text", len(content), identity, content=content),), "")


def inputs_of_corpus(name: str, corpus: Corpus, origin: Sequence[str]) -> Inputs:
    """The documents of a corpus."""
    identity = ("corpus", name, *origin, corpus.fingerprint())
    return Inputs(name, (InputFile(name, "corpus", 0, identity),), "", corpus)


def files_of_glob(data: str) -> list[Path]:
    """The files that a pattern matches, hidden ones left out, sorted as text.

    Raises:
        UsageError: there are none.
    """
    found = glob.glob(str(Path(data).expanduser()), recursive=True)  # noqa: PTH207 - it takes absolute patterns too
    files = sorted({Path(path) for path in found if Path(path).is_file()}, key=lambda path: path.as_posix())
    if not files:
        raise UsageError(f"no file matches {data!r}: see what is there with ls, and quote the pattern")
    return files


def _files(data: str) -> list[InputFile]:
    """The files, in the order in which they are read; none if there is no such thing."""
    if is_glob(data):
        return [_input_file(path, form_of(path)) for path in files_of_glob(data)]
    path = Path(data).expanduser()
    if path.is_file():
        return [_input_file(path, form_of(path))]
    if not data or not path.is_dir():
        return []
    visible = [path / within for within in list_files(path, lambda within: not within.name.startswith("."))]
    documents = [file for file in visible if form_of(file) != "text"]
    others = [file for file in visible if form_of(file) == "text" and file.suffix.lower() not in _BESIDE]
    if documents and all(other.name.upper().startswith(("LICENSE", "README")) for other in others):
        return [_input_file(file, form_of(file)) for file in documents]
    return [_input_file(file, "text") for file in visible]


def _input_file(path: Path, form: Form) -> InputFile:
    path = path.absolute()
    status = path.stat()
    identity = (str(path), form, status.st_size, status.st_mtime_ns)
    return InputFile(path.name, form, status.st_size, identity, path)


def _name(data: str) -> str:
    return data if is_glob(data) else Path(data).expanduser().resolve().name


def key_of(*parts: Any) -> str:
    """A name for what depends on these values, and on nothing else."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
