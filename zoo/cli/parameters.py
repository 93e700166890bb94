"""Parameters in the texts of the library, as the flags of the command that runs.

The library serves Python as well, so its texts name a parameter in backticks: "`jobs`=300 should be from 1 to 256".
On the command line that is "--jobs 300 should be from 1 to 256".
"""

import re
from collections.abc import Container, Mapping
from typing import Any

import typer

_PARAMETER = re.compile(r"`(?P<name>[a-z_]+)`(?P<value>=(?=\S))?")

_flags: Mapping[str, str] = {}
"""The flags of the command that runs, by parameter; there is one command a process at a time."""


def use_flags_of(command: Any) -> None:
    """Have `with_flags` write the flags of this command from now on."""
    global _flags  # noqa: PLW0603 - there is one stderr, too
    _flags = flags_of(command)


def flags_of(command: Any) -> dict[str, str]:
    """The flag of each parameter of a command, or for an argument the word that its help has for it.

    A parameter that may not have the name of its flag, e.g. one that is called ``compile_model`` for ``--compile``, is
    known by both.
    """
    flags: dict[str, str] = {}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            flags[parameter.name] = str(parameter.metavar).split()[0]
        else:
            flag = max(parameter.opts, key=len)
            flags |= {flag.lstrip("-").replace("-", "_"): flag, parameter.name: flag}
    return flags


def given_flags(context: typer.Context, *, but: Container[str]) -> list[str]:
    """The flags and arguments that the user gave, in the order of the help.

    Args:
        context: of the command.
        but: parameters that are left out.
    """
    flags, given = flags_of(context.command), context.params
    parameters = [(parameter.name or "", parameter.default) for parameter in context.command.params]
    return [flags[name] for name, default in parameters if name not in but and _is_given(given[name], default)]


def _is_given(value: object, default: object) -> bool:
    if value is False:  # of a flag that has an opposite, and is neither by default
        return default is None
    return value is not None and value not in ([], ())


def with_flags(text: str) -> str:
    """The text with flags in the place of parameters in backticks; what is no parameter of the command stays.

    A setting of a run without a flag of its own is written as ``--set`` takes it.
    """
    return _PARAMETER.sub(_flag, text)


def _flag(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    if name in _flags:
        return _flags[name] + (" " if value else "")
    if "set" in _flags and _is_setting(name):
        return f"{_flags['set']} {name}{value or ''}"
    return found[0]


def _is_setting(name: str) -> bool:
    from zoo.train.settings import Settings  # for which `zoo --help` does not wait

    return name in Settings.model_fields
