"""Reading text files, one or a folder of them."""

import os
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from zoo.errors import UsageError

_HEAD = 8192
"""Bytes after which a large binary file has usually betrayed itself, so that the rest need not be read."""


class NotTextError(ValueError):
    """A file that is not UTF-8 text. The message says why."""


def read_text(path: Path, *, keep_marks: bool = False) -> str:
    """The text of a file, to the byte: newlines are kept as they are.

    Args:
        path: of the file.
        keep_marks: take a byte-order mark at its start for a part of the text, which it is not.

    Raises:
        NotTextError: it has NUL bytes, or is not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(_HEAD)
        if b"\0" not in content:
            content += file.read()
    if b"\0" in content:
        raise NotTextError(f"there is a NUL byte at offset {content.index(0)}")
    try:
        return content.decode() if keep_marks else content.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise NotTextError(f"there is a byte 0x{content[error.start]:02x} at offset {error.start}") from None


def read_folder(folder: Path, *, keep_marks: bool = False, separator: str = "\n") -> str:
    """All text files of a folder and its subfolders, ordered by path, hidden and binary ones left out.

    Args:
        folder: of the files.
        keep_marks: see `read_text`.
        separator: what stands between two files.

    Raises:
        UsageError: it has no text files.
    """
    visible = list_files(folder, lambda path: not path.name.startswith("."))
    text = separator.join(read_texts(folder, visible, keep_marks=keep_marks))
    if not text:
        raise UsageError(f"the folder {str(folder)!r} has no text files; hidden, empty and binary ones do not count")
    return text


def list_files(folder: Path, wanted: Callable[[PurePosixPath], bool]) -> list[PurePosixPath]:
    """The files below a folder.

    Args:
        folder: symbolic links to folders in it are not followed.
        wanted: is asked for each file and folder by its path within `folder`; what is in an unwanted folder is out.

    Returns:
        Paths within `folder`, sorted as text with ``/`` between the parts, so that every system gives the same order.
    """
    found = []
    for where, folders, files in os.walk(folder, onerror=_raise):
        within = PurePosixPath(Path(where).relative_to(folder).as_posix())
        folders[:] = [name for name in folders if wanted(within / name)]
        found += [within / name for name in files if wanted(within / name) and Path(where, name).is_file()]
    return sorted(found, key=str)


def read_texts(folder: Path, paths: Iterable[PurePosixPath], *, keep_marks: bool = False) -> Iterator[str]:
    """The texts of the files, in turn; files that are empty or not text are left out."""
    return filter(None, (_text_or_nothing(folder / path, keep_marks) for path in paths))


def _text_or_nothing(path: Path, keep_marks: bool) -> str:
    try:
        return read_text(path, keep_marks=keep_marks)
    except NotTextError:
        return ""


def _raise(error: OSError) -> None:
    raise error
