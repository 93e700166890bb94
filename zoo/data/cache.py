"""Folders of files that take time to make: written once, verified at every use, made again when damaged."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from zoo.files.cache_directory import cache_directory

__all__ = ["cache_directory", "cached_folder"]

_MANIFEST = "manifest.json"
_LOCK_TIMEOUT = 600
"""Seconds to wait for another process that makes the same folder."""


def cached_folder(folder: Path, build: Callable[[Path], None]) -> Path | None:
    """A folder that holds what `build` writes, made only where it is not there yet or is damaged.

    Args:
        folder: its name must say everything on which the content depends.
        build: writes the files into the empty folder that it is given. It may run in any of several processes that
            ask at once, but only in one of them.

    Returns:
        The folder, complete and verified; None if it cannot be written, or not be locked, where it should be.
    """
    if _is_sound(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=_LOCK_TIMEOUT):
            if not _is_sound(folder):
                _write(folder, build)
    except (OSError, NotImplementedError):  # the latter comes from file systems that know no locks
        return None
    return folder


def _write(folder: Path, build: Callable[[Path], None]) -> None:
    """Make the folder elsewhere and move it into place whole, so that half of it is never seen."""
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        staged = Path(temporary) / folder.name
        staged.mkdir()
        build(staged)
        (staged / _MANIFEST).write_text(json.dumps(_describe(staged)), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        staged.rename(folder)


def _is_sound(folder: Path) -> bool:
    """Whether every file is there as it was written, and no other."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest) and manifest == _describe(folder)
    except (OSError, ValueError):
        return False


def _describe(folder: Path) -> dict[str, dict[str, int | str]]:
    files = sorted(path for path in folder.iterdir() if path.name != _MANIFEST)
    return {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
