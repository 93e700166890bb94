"""The program as plain data that can be remembered: its commands, flags and arguments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer


def describe_command(command: Any) -> dict[str, Any]:
    """A command, or a group with its ``commands`` by name: its help in a line, and its parameters.

    Each parameter has its name, its flags (none for an argument), whether it takes a value and can be repeated, whether
    it is a path, and its help.
    """
    described: dict[str, Any] = {
        "help": _first_line(command.help),
        "parameters": [
            _parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)
        ],
    }
    described["parameters"].append(
        {
            "name": "help",
            "flags": ["--help"],
            "takes_value": False,
            "repeats": False,
            "is_path": False,
            "help": "Show the help.",
        }
    )
    if hasattr(command, "commands"):
        described["commands"] = {name: describe_command(each) for name, each in command.commands.items()}
    return described


def describe_program(plugins: Mapping[str, Any]) -> dict[str, Any]:
    """The zoo with its own commands, and with those of plugins.

    Args:
        plugins: what typer makes of the commands of plugins, by name.
    """
    from zoo.cli.main import app

    described = describe_command(typer.main.get_command(app))
    described["commands"] |= {name: describe_command(command) for name, command in plugins.items()}
    return described


def _parameter(parameter: Any) -> dict[str, Any]:
    is_argument = parameter.param_type_name == "argument"
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    return {
        "name": parameter.name or "",
        "flags": [] if is_argument else [*parameter.opts, *parameter.secondary_opts],
        "takes_value": is_argument or not parameter.is_flag,
        "repeats": parameter.nargs == -1,
        "is_path": annotation is Path,
        "help": _first_line(parameter.help),
    }


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
