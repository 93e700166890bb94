"""Files that show by themselves when a bit of them has changed: a manifest beside them holds their checksums.

A manifest holds a checksum of itself as well, and there is one way only to write it down, so that no bit of it changes
unnoticed either.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, ZooError
from zoo.files.atomic import reason, write_atomically
from zoo.files.strict_json import from_json

MANIFEST = "manifest.json"
FORMAT = 1
"""The version of a folder's manifest, as `write_sealed` writes it."""

CHANGED = "has changed since it was written"

_ATTEMPTS = 3
"""A reader that holds no lock may meet a file and a manifest of different moments."""


class DamagedError(Exception):
    """A file is not what it was. The text goes behind its name."""


def encode_manifest(content: Mapping[str, Any]) -> bytes:
    """The one way to write a manifest down, with a checksum of itself in it."""
    return (json.dumps({**content, "sha256": _own_checksum(content)}, indent=2, sort_keys=True) + "\n").encode()


def decode_manifest(raw: bytes) -> dict[str, Any]:
    """What `encode_manifest` wrote.

    Raises:
        DamagedError: a bit of it has changed.
    """
    try:
        content = from_json(raw)
        content.pop("sha256")
        intact = raw == encode_manifest(content) and isinstance(content["format"], int)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise DamagedError(CHANGED)
    return dict(content)


def write_sealed(folder: Path, name: str, content: str | bytes) -> None:
    """Write a file and its checksum into a folder, in place of an earlier one; a kill at any moment damages nothing.

    The manifest accepts the new file before that is written, and the old one until it is. Where the folder has no
    manifest yet, all JSON files in it are taken as they are.

    Raises:
        ZooError: the disk is full, or the place is not writable.
        UsageError: the manifest is damaged.
    """
    new = sha256_of(content.encode() if isinstance(content, str) else content)
    accepted = _accepted(folder)
    known = _adopted(folder) if accepted is None else accepted
    earlier = known.get(name, [])
    _write(folder, known | {name: list(dict.fromkeys([*earlier, new]))})
    write_atomically(folder / name, content)
    if earlier:
        _write(folder, known | {name: [new]})


def read_sealed(folder: Path, name: str) -> bytes:
    """What `write_sealed` wrote; unchecked if the folder has no manifest, as those of earlier versions.

    Raises:
        FileNotFoundError: there is no such file.
        UsageError: a bit of it, or of the manifest, has changed.
        ZooError: it cannot be read.
    """
    path = folder / name
    for _ in range(_ATTEMPTS):
        accepted = _accepted(folder)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ZooError(f"cannot read {path}: {reason(error)}") from None
        if accepted is None or name not in accepted or sha256_of(content) in accepted[name]:
            return content
    raise UsageError(
        f"{path} is damaged: it {CHANGED}; put back a good copy, or remove {folder / MANIFEST} to take it as it is"
    )


def sha256_of(content: bytes) -> str:
    """The checksum of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _own_checksum(content: Mapping[str, Any]) -> str:
    return sha256_of(json.dumps(content, sort_keys=True).encode())


def _accepted(folder: Path) -> dict[str, list[str]] | None:
    """The checksums that each file may have; None if there is no manifest."""
    path = folder / MANIFEST
    try:
        content = decode_manifest(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ZooError(f"cannot read {path}: {reason(error)}") from None
    except DamagedError as damage:
        raise UsageError(
            f"{path} is damaged: it {damage}; put back a good copy, or remove it to take the files as they are"
        ) from None
    if content["format"] != FORMAT:
        raise UsageError(f"{path} has format {content['format']}; this version of zoo reads format {FORMAT}")
    files = content.get("files")
    if not isinstance(files, dict) or not all(isinstance(sums, list) for sums in files.values()):
        raise UsageError(f"{path} is damaged: it lists no checksums; put back a good copy, or remove it")
    return files


def _adopted(folder: Path) -> dict[str, list[str]]:
    paths: Iterable[Path] = (path for path in folder.glob("*.json") if path.is_file())
    return {path.name: [sha256_of(path.read_bytes())] for path in paths}


def _write(folder: Path, accepted: Mapping[str, list[str]]) -> None:
    content = {"format": FORMAT, "files": {name: list(sums) for name, sums in accepted.items()}}
    write_atomically(folder / MANIFEST, encode_manifest(content))
