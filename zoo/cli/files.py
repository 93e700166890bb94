"""Plugins that are files: those that ``--plugin`` names, and those within a pattern."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from zoo.cli.output import warn
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.plugin.catalogue import Plugin

_ALLOW_CHANGED = "ZOO_ALLOW_CHANGED"
# zoo.plugin.files has this name too, and with it pluggy, for which `zoo --help` does not wait.
_ENVIRONMENT = "ZOO_PLUGIN_FILES"


def allow_changed(given: bool) -> bool:
    """Let this command, and the processes that it starts, use saved runs whose plugin files were edited since."""
    if given:
        os.environ[_ALLOW_CHANGED] = "1"
    return given


AllowChanged: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-changed",
        help="Go on although a plugin file has changed since.",
        callback=allow_changed,
    ),
]
"""The option of a command that uses something saved."""


@contextmanager
def for_one_command() -> Iterator[None]:
    """Put back what a command said of plugin files: another one in the same process has its own."""
    before = {name: os.environ.get(name) for name in (_ENVIRONMENT, _ALLOW_CHANGED)}
    try:
        yield
    finally:
        if before != {name: os.environ.get(name) for name in before}:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ |= {} if value is None else {name: value}
            from zoo.plugin.registry import forget_added

            forget_added()


def use_files(paths: Iterable[Path]) -> None:
    """Have this command, and the processes that it starts, load these files beside those of the environment.

    Raises:
        UsageError: a file that is not there or cannot be loaded.
    """
    before = os.environ.get(_ENVIRONMENT, "").split(os.pathsep)
    given = [str(path.expanduser().absolute()) for path in paths]
    for path in given:
        if os.pathsep in path:
            raise UsageError(f"the path of a plugin file cannot have {os.pathsep!r} in it: {path}")
    os.environ[_ENVIRONMENT] = os.pathsep.join(dict.fromkeys(filter(None, [*before, *given])))
    from zoo.plugin.files import load_file
    from zoo.plugin.registry import get_registry

    for path in given:
        _warn_of_changes(load_file(Path(path)))
    get_registry.cache_clear()
    get_registry()


def class_in_file(place: str) -> type[Any] | None:
    """The class that ``./mine.py:Mine`` names, without registering it; None for any other text.

    Raises:
        UsageError: no such file or class, or a file that fails.
    """
    if ".py" not in place:
        return None
    from zoo.plugin.files import load_file
    from zoo.plugin.local import files_in, find_class

    cls = find_class(place)
    for path in files_in(place) if cls is not None else ():
        _warn_of_changes(load_file(path))
    return cls


def with_file_names(pattern: str) -> str:
    """The pattern with the registered name in place of each ``./mine.py:Mine``, whose file is loaded.

    Raises:
        UsageError: no such file or class, or a file that fails.
    """
    if ".py" not in pattern:  # most patterns name no file, and need not wait for torch here
        return pattern
    from zoo.plugin import local

    use_files(local.files_in(pattern))
    return local.with_file_names(pattern)


def _warn_of_changes(plugin: "Plugin") -> None:
    if plugin.changes:
        warn(f"{plugin.origin} changed global state when it was run, now restored: {', '.join(plugin.changes)}")
