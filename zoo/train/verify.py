"""Whether a checkpoint is whole, as it was written, and one of the model that it is for."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from zoo.errors import UsageError, ZooError, is_out_of_memory
from zoo.files.atomic import reason
from zoo.train.manifest import CHANGED, MANIFEST, DamagedError, decode_manifest

FORMAT = 1
"""The version of what lies in a checkpoint's folder."""


class UnusableError(Exception):
    """Why a checkpoint cannot be used."""


class MisfitError(UsageError):
    """A checkpoint holds other tensors than the model has that its settings build now.

    Attributes:
        cause: which, in a line.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"the checkpoint does not fit the model that its settings and plugins build now: {cause}")
        self.cause = cause


@contextmanager
def fitting() -> Iterator[None]:
    """Report tensors that the block cannot put into a model or an optimizer.

    Raises:
        MisfitError: names, shapes or types are not those that are wanted.
    """
    try:
        yield
    except (RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, ZooError) or is_out_of_memory(error):
            raise
        raise MisfitError(shorten(str(error), 300, placeholder=" …")) from None


def verify(path: Path, step: int) -> dict[str, Any]:
    """The manifest of a checkpoint whose files are those that were written, all of them and no other.

    Args:
        path: of the checkpoint.
        step: that its name says.

    Raises:
        UnusableError: they are not.
    """
    try:
        manifest = _read_manifest(path, step)
        present = {entry.name for entry in path.iterdir()} - {MANIFEST}
        for name in sorted(present.symmetric_difference(manifest["files"])):
            raise UnusableError(f"{name} {'does not belong there' if name in present else 'is missing'}")
        for name, expected in manifest["files"].items():
            _verify_file(path / name, expected)
    except OSError as error:
        raise UnusableError(f"cannot be read: {reason(error)}") from None
    return manifest


def _read_manifest(path: Path, step: int) -> dict[str, Any]:
    try:
        manifest = decode_manifest((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise UnusableError(f"{MANIFEST} is missing") from None
    except DamagedError as damage:
        raise UnusableError(f"{MANIFEST} {damage}") from None
    if manifest["format"] != FORMAT:
        raise UnusableError(f"it has format {manifest['format']}, and this version of zoo reads format {FORMAT}")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_is_described(entry) for entry in files.values()):
        raise UnusableError(f"{MANIFEST} lists no checksums")
    if manifest.get("step") != step:
        raise UnusableError(f"it is of step {manifest.get('step')!r}, whatever its name says")
    return manifest


def _is_described(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("size"), int) and isinstance(entry.get("sha256"), str)


def _verify_file(path: Path, expected: Mapping[str, Any]) -> None:
    size = path.stat().st_size
    if size != expected["size"]:
        raise UnusableError(f"{path.name} has {size} bytes instead of {expected['size']}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
            raise UnusableError(f"{path.name} {CHANGED}")
