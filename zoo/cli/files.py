"""Plugins that are files: those that ``--plugin`` names, and those within a pattern."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from zoo.cli.output import warn
from zoo.errors import UsageError

_ENVIRONMENT = (
    "ZOO_PLUGIN_FILES"  # zoo.plugin.files has it too, and with it pluggy, for which `zoo --help` does not wait
)


def allow_changed(given: bool) -> bool:
    """Let this command, and the processes that it starts, use saved runs whose plugin files were edited since."""
    if given:
        os.environ["ZOO_ALLOW_CHANGED"] = "1"
    return given


AllowChanged: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-changed",
        help="Go on although a plugin file has changed since.",
        callback=allow_changed,
    ),
]
"""The option of a command that goes on with something saved."""


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
        plugin = load_file(Path(path))
        if plugin.changes:
            warn(f"{path} changed global state when it was run, now restored: {', '.join(plugin.changes)}")
    get_registry.cache_clear()
    get_registry()


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
