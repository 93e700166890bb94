"""Whether a checkpoint is whole, and as it was written."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.files.atomic import reason
from zoo.train.manifest import CHANGED, MANIFEST, DamagedError, decode_manifest

FORMAT = 1
"""The version of what lies in a checkpoint's folder."""


class UnusableError(Exception):
    """Why a checkpoint cannot be used."""


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
    if manifest["step"] != step:
        raise UnusableError(f"it is of step {manifest['step']}, whatever its name says")
    return manifest


def _verify_file(path: Path, expected: Mapping[str, Any]) -> None:
    size = path.stat().st_size
    if size != expected["size"]:
        raise UnusableError(f"{path.name} has {size} bytes instead of {expected['size']}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
            raise UnusableError(f"{path.name} {CHANGED}")
