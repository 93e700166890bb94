"""The texts to learn from: a registered corpus, or the user's own files."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from zoo.data.documents import SEPARATOR, Documents, between
from zoo.data.files import NotTextError, read_folder, read_text
from zoo.errors import PluginError, UsageError, ZooError
from zoo.model.create import create
from zoo.model.tracebacks import describe_cause
from zoo.plugin.kinds import CORPUS, TASK
from zoo.plugin.pattern import Call, parse_call
from zoo.plugin.registry import Registry, get_registry

HUB = "hf:"
"""What a data set of the Hugging Face Hub begins with."""


@dataclass(frozen=True)
class Text:
    """A text with a name.

    Attributes:
        name: of the corpus with its options, or of the file or folder.
        text: all of it.
        sha256: of the text in UTF-8: for a single file without a byte-order mark, what ``sha256sum`` prints for it.
        documents: whether its files are one text, or documents with `SEPARATOR` between them.
    """

    name: str
    text: str = field(repr=False)
    sha256: str
    documents: Documents = "joined"


def load_text(
    data: str,
    *,
    keep_marks: bool = False,
    documents: Documents = "joined",
    registry: Registry | None = None,
) -> Text:
    """Find and read a text.

    Args:
        data: a corpus, with options in brackets if any, or the path of a UTF-8 text file or of a folder of them. A file
            that has the name of a corpus is reached as ``./shakespeare``.
        keep_marks: take a byte-order mark at the start of a file for a part of its text.
        documents: ``"joined"`` puts a newline between two documents, ``"separate"`` the separator of documents.
        registry: where to look for corpora; the installed plugins by default.

    Returns:
        The text. The same files give the same text, whatever the machine.

    Raises:
        UsageError: there is no such data, or it is empty, binary or cannot be read; or the documents of a single one
            are to be separate.
        PluginError: the corpus' plugin is broken or missing, or the corpus itself fails.
    """
    call, separator = corpus_call(data, registry), between(documents)
    name, text = _user_text(data, keep_marks, separator) if call is None else _corpus_text(call, separator, registry)
    if documents == "separate" and SEPARATOR not in text:
        raise UsageError(
            f"the data {data!r} is a single document, and documents=separate needs several: pass a folder of text "
            "files, or leave documents out"
        )
    return Text(name, text, hashlib.sha256(text.encode()).hexdigest(), documents)


def corpus_call(data: str, registry: Registry | None = None) -> Call | None:
    """The corpus that `data` names, with its options; None if it names something else.

    Raises:
        PatternError: options in brackets that cannot be read.
    """
    if data.startswith(HUB):
        return _hub_call(data, registry)
    name = data.partition("(")[0].strip().rpartition(":")[2].replace("_", "-")
    corpora = (registry or get_registry())[CORPUS]
    if set(data.partition("(")[0]) & set("/\\~.") or not any(entry.name == name for entry in corpora.entries):
        return None
    return parse_call(data)


def _hub_call(data: str, registry: Registry | None) -> Call:
    """``hf:NAME`` as the corpus `hf` with its name, which a plugin gives."""
    if not any(entry.name == "hf" for entry in (registry or get_registry())[CORPUS].entries):
        raise UsageError(f"{data} needs a plugin: pip install zoo-datasets")
    return Call("hf", (("name", data.removeprefix(HUB)),))


def _corpus_text(call: Call, separator: str, registry: Registry | None) -> tuple[str, str]:
    entry = (registry or get_registry())[CORPUS].find(call.name)
    corpus = create(entry, call.keywords)
    try:
        text = separator.join(filter(None, corpus.documents()))
    except ZooError:
        raise
    except Exception as error:
        raise PluginError(f"{entry.name}, from {entry.origin}, failed: {describe_cause(error, entry.cls)}") from error
    if not text:
        raise UsageError(f"the corpus {str(call)!r} has no text: choose another")
    return str(call), text


def _user_text(data: str, keep_marks: bool, separator: str) -> tuple[str, str]:
    try:
        path = Path(data).expanduser()
        if not data or not path.exists():
            raise UsageError(no_such_data(data))
        if path.is_dir():
            text = read_folder(path, keep_marks=keep_marks, separator=separator)
        else:
            text = read_text(path, keep_marks=keep_marks)
    except NotTextError as error:
        raise UsageError(f"the data file {data!r} is not UTF-8 text: {error}; convert it, or pass another") from None
    except (OSError, RuntimeError) as error:  # the latter comes from ~name where there is no such user
        raise UsageError(f"cannot read the data {data!r}: {getattr(error, 'strerror', None) or error}") from None
    if not text:
        raise UsageError(f"the data {data!r} is empty: there is nothing to learn from, pass a file with text in it")
    return path.resolve().name, text


def no_such_data(data: str) -> str:
    """That there is no such data, and what else there is."""
    from zoo.plugin.options import did_you_mean

    suite = get_registry().suite(data)
    if suite:
        return f"{data} is a suite of tasks, which `zoo compare` takes as a whole; name one of them: {', '.join(suite)}"
    is_word = data and not set(data) & set("./\\~")
    corpora, tasks = get_registry()[CORPUS].names, get_registry()[TASK].names
    hint = did_you_mean(data, [*corpora, *tasks]) if is_word else ""
    return (
        f"there is no data {data!r}{hint}: expected {' or '.join(corpora)}, a task (see: zoo tasks), "
        "or the path of a UTF-8 text file or of a folder of them, of .jsonl or .parquet, or of shards"
    )
