"""What plugins add to the command line: read from the hook, and checked."""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import PluginError
from zoo.plugin.names import NAME_RULE, is_name

BUILT_IN = (
    "train",
    "generate",
    "list",
    "info",
    "check",
    "inspect",
    "eval",
    "runs",
    "plot",
    "bench",
    "bench model",
    "compare",
    "report",
    "plan",
    "tasks",
    "data",
    "plugins",
    "new-plugin",
    "doctor",
    "completion",
)
"""The commands of the zoo itself, in the order of its help, which no plugin replaces."""


@dataclass(frozen=True)
class PluginCommand:
    """A command, or a group of commands, of a plugin.

    Attributes:
        name: as it is typed after ``zoo``.
        summary: the first line of its help.
        info: what typer makes it of.
        is_group: whether it has commands of its own.
    """

    name: str
    summary: str
    info: Any = field(repr=False, compare=False)
    is_group: bool = False


def read_commands(hook: Callable[[Any], object]) -> tuple[PluginCommand, ...]:
    """The commands that a plugin's ``zoo_commands`` adds to an empty program.

    Raises:
        PluginError: a name that cannot be typed, that it gives twice, or that is a command of the zoo.
    """
    import typer

    app = typer.Typer()
    hook(app)
    found = [_command(info) for info in app.registered_commands] + [_group(info) for info in app.registered_groups]
    for name, times in Counter(command.name for command in found).items():
        if not is_name(name):
            raise PluginError(f"{name!r} is no name for a command: {NAME_RULE}")
        if times > 1:
            raise PluginError(f"it gives the command {name!r} twice")
        if name in BUILT_IN:
            raise PluginError(f"its command {name!r} is one of the zoo's own: give it another name")
    return tuple(found)


def _command(info: Any) -> PluginCommand:
    function = info.callback
    name = info.name or (function.__name__.lower().replace("_", "-") if function else "")
    return PluginCommand(name, _first_line(info.help, function), info)


def _group(info: Any) -> PluginCommand:
    group = info.typer_instance.info  # what was said when it was made counts where nothing is said here
    name = _said(info.name) or _said(group.name) or ""
    return PluginCommand(name, _first_line(_said(info.help) or _said(group.help), None), info, is_group=True)


def _said(value: Any) -> str | None:
    """A text that was given; typer has placeholders for what was not."""
    return value if isinstance(value, str) else None


def _first_line(text: str | None, function: Any) -> str:
    lines = (text or inspect.getdoc(function) or "" if function else text or "").strip().splitlines()
    return lines[0] if lines else ""
