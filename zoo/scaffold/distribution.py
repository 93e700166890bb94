"""A new distribution in a folder of its own, or nothing."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UsageError
from zoo.files.atomic import cannot_make, writing
from zoo.plugin.kinds import Kind
from zoo.plugin.registry import Registry
from zoo.scaffold.names import check_free
from zoo.scaffold.rendering import Files, render


@dataclass(frozen=True)
class Written:
    """A distribution that was written.

    Attributes:
        folder: its own.
        files: what is in it.
    """

    folder: Path
    files: Files


def write_distribution(name: str, kind: Kind, parent: Path, registry: Registry) -> Written:
    """Write a distribution with one member, which keeps the laws of its kind.

    Args:
        name: of the member, the distribution and its folder.
        kind: of the member.
        parent: the folder in which its folder is made.
        registry: of the members whose names are taken.

    Raises:
        UsageError: a name that is none or is taken, or a place where no folder can be made. Nothing is overwritten.
        ZooError: the disk is full. Nothing is left behind.
    """
    check_free(name, kind, registry)
    files, folder = render(name, kind), parent / name
    try:
        folder.mkdir()
    except FileExistsError:
        raise UsageError(f"{folder} exists: choose another name, or another place with `dir`") from None
    except OSError as error:
        raise cannot_make("folder", folder, error, "choose another place with `dir`") from None
    try:
        for path, text in files.texts.items():
            with writing(folder / path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Written(folder, files)
