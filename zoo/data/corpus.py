"""The texts to learn from: the standard library of Python, tiny Shakespeare, or the user's own files."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zoo.data.cache import cache_directory
from zoo.data.documents import SEPARATOR, Documents, between
from zoo.data.files import NotTextError, read_folder, read_text
from zoo.data.stdlib import python_stdlib
from zoo.errors import UsageError
from zoo.plugin.kinds import TASK

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_DOWNLOAD_TIMEOUT = 20
"""Seconds without a sign of the server."""


@dataclass(frozen=True)
class Corpus:
    """A text with a name.

    Attributes:
        name: of a built-in corpus, or of the file or folder.
        text: all of it.
        sha256: of the text in UTF-8: for a single file without a byte-order mark, what ``sha256sum`` prints for it.
        documents: whether its files are one text, or documents with `SEPARATOR` between them.
    """

    name: str
    text: str = field(repr=False)
    sha256: str
    documents: Documents = "joined"


def load_corpus(data: str, *, keep_marks: bool = False, documents: Documents = "joined") -> Corpus:
    """Find and read a text.

    Args:
        data: ``python-stdlib``, ``shakespeare``, or the path of a UTF-8 text file or of a folder of them. A file that
            has the name of a built-in corpus is reached as ``./shakespeare``.
        keep_marks: take a byte-order mark at the start of a file for a part of its text.
        documents: ``"joined"`` puts a newline between two files, ``"separate"`` the separator of documents.

    Returns:
        The corpus. The same files give the same text, whatever the machine.

    Raises:
        UsageError: there is no such data, or it is empty, binary or cannot be read; or the download failed; or the
            documents of a single one are to be separate.
    """
    built_in, separator = _BUILT_IN.get(data), between(documents)
    name, text = (data, built_in(separator)) if built_in else _user_text(data, keep_marks, separator)
    if documents == "separate" and SEPARATOR not in text:
        raise UsageError(
            f"the data {data!r} is a single document, and documents=separate needs several: pass a folder of text "
            "files, or leave documents out"
        )
    return Corpus(name, text, hashlib.sha256(text.encode()).hexdigest(), documents)


def corpus_summary(name: str) -> str:
    """What a built-in corpus is, in a sentence."""
    return " ".join(inspect.cleandoc(_BUILT_IN[name].__doc__ or "").split("\n\n")[0].split())


def _user_text(data: str, keep_marks: bool, separator: str) -> tuple[str, str]:
    try:
        path = Path(data).expanduser()
        if not data or not path.exists():
            raise UsageError(_no_such_data(data))
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


def _no_such_data(data: str) -> str:
    from zoo.plugin.options import did_you_mean
    from zoo.plugin.registry import get_registry

    suite = get_registry().suite(data)
    if suite:
        return f"{data} is a suite of tasks, which `zoo compare` takes as a whole; name one of them: {', '.join(suite)}"
    is_word = data and not set(data) & set("./\\~")
    hint = did_you_mean(data, [*CORPORA, *get_registry()[TASK].names]) if is_word else ""
    return (
        f"there is no data {data!r}{hint}: expected {' or '.join(CORPORA)}, a task (see: zoo tasks), "
        "or the path of a UTF-8 text file or of a folder of them"
    )


def _shakespeare(_separator: str) -> str:
    """Tiny Shakespeare: 1,115,394 characters of his plays, downloaded when they are first asked for."""
    import pooch

    try:
        path = pooch.retrieve(
            SHAKESPEARE_URL,
            known_hash=f"sha256:{SHAKESPEARE_SHA256}",
            path=cache_directory() / "corpora",
            fname="shakespeare.txt",
            downloader=pooch.HTTPDownloader(timeout=_DOWNLOAD_TIMEOUT),
        )
    except (OSError, ValueError) as error:  # no network, no room, or a file with another hash
        raise UsageError(
            f"cannot download the corpus 'shakespeare' ({type(error).__name__}): get {SHAKESPEARE_URL} on a machine "
            "that can, and pass the file with --data PATH"
        ) from error
    return read_text(Path(path))


_BUILT_IN: dict[str, Callable[[str], str]] = {"python-stdlib": python_stdlib, "shakespeare": _shakespeare}

CORPORA = tuple(_BUILT_IN)
"""The names of the built-in corpora."""
