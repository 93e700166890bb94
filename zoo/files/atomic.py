"""Files that survive a kill, a full disk and a loss of power."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from zoo.errors import UsageError, ZooError


class BusyError(UsageError):
    """Another process is at work in a folder."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that, whatever happens, its old or its new content is there whole.

    Raises:
        ZooError: the disk is full, or the place is not writable.
    """
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        try:
            partial.unlink(missing_ok=True)  # what a kill has left, or a link, through which nothing is written
            write_synced(partial, _encoded(content) if isinstance(content, str) else content)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _encoded(text: str) -> bytes:
    """In UTF-8. What a path holds besides is written as ``\\udce9``, from which JSON gives the path back."""
    return text.encode("utf-8", "backslashreplace")


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def append(path: Path, text: str) -> None:
    """Add to the end of a file, for every process to see at once, without waiting for the disk."""
    with writing(path), _itself(path) as file:
        file.write(text.encode("utf-8", "replace"))


def cut_lines(path: Path, size: int) -> int:
    """Cut a file after its last whole line within so many bytes, and return the size that it has then."""
    with writing(path), _itself(path) as file:
        file.seek(0)
        end = file.read(size).rfind(b"\n") + 1
        file.truncate(end)
        os.fsync(file.fileno())
    return end


def sync_size(path: Path) -> int:
    """Wait until a file is on the disk, and return its size in bytes. One that is not there is made."""
    with writing(path), _itself(path) as file:
        os.fsync(file.fileno())
        return file.seek(0, os.SEEK_END)


def _itself(path: Path) -> BinaryIO:
    """A file to read and to add to. Through a link, which a folder from elsewhere may hold, nothing is written."""

    def opener(name: str, flags: int) -> int:
        try:
            return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(error.errno, "it is a link to another file: put that in its place") from error
            raise

    return cast(BinaryIO, open(path, "a+b", opener=opener))


def refuse_link(folder: Path) -> None:
    """Refuse a folder that is a link, which one from elsewhere may hold: what is written there would go elsewhere.

    Raises:
        UsageError: it is one.
    """
    if folder.is_symlink():
        raise UsageError(f"{folder} is a link to another folder: put that in its place")


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync files only
            raise
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell a failure to write `path` as one line."""
    try:
        yield
    except OSError as error:
        raise ZooError(f"cannot write {path}: {reason(error)}; what was saved before is intact") from error


def cannot_make(what: str, path: Path, error: OSError, hint: str = "choose another place with `out`") -> ZooError:
    """The error for a place where no folder can be made: the user's mistake, unless the disk is full or broken."""
    kind = ZooError if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO} else UsageError
    return kind(f"cannot make the {what} {path}: {reason(error)}; {hint}")


def reason(error: OSError) -> str:
    """What the system says went wrong, without number and path."""
    return error.strerror or str(error)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder. The lock falls with the process, however that ends.

    Raises:
        BusyError: another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    with writing(folder / ".lock"):
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(f"another process is at work in {folder}: wait until it ends, or stop it") from None
    try:
        yield
    finally:
        lock.release()
