"""What ``--help`` prints: plain text, the same on a terminal and in a pipe."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from typer.core import TyperCommand, TyperGroup

from zoo.cli.output import json_only

MAX_WIDTH = 100


class Command(TyperCommand):
    """A command whose help groups its flags by ``rich_help_panel`` and shows defaults in brackets.

    With ``--json`` nothing but its JSON reaches stdout.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with json_only() if ctx.params.get("json") else nullcontext():
            return super().invoke(ctx)

    def defaults(self) -> Mapping[str, Any]:
        """What each parameter is, where the user gives nothing; None and False are not shown."""
        return {parameter.name or "": parameter.default for parameter in self.params}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        parameters, defaults = self.get_params(ctx), self.defaults()
        arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
        usage = " ".join([ctx.command_path, "[OPTIONS]", *(str(argument.metavar) for argument in arguments)])
        formatter.write(f"Usage: {usage}\n\n")
        formatter.write_text(self.help or "")
        panels = {"Arguments": arguments, **_panels(p for p in parameters if p not in arguments)}
        width = max(len(_name(parameter)) for parameter in parameters)
        for panel, members in panels.items():
            write_section(formatter, panel, [(f"{_name(p):<{width}}", _meaning(p, defaults)) for p in members])


class Group(TyperGroup):
    """The program itself: its help lists the commands, each with the first line of its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the words begin with, its name and the words that are left; its name may be two words."""
        name = " ".join(args[:2])
        return (name, self.commands[name], args[2:]) if name in self.commands else super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command of the zoo, or of a plugin, which are loaded only for a name that the zoo does not have."""
        if (found := super().get_command(ctx, cmd_name)) is None:
            from zoo.cli.plugin_commands import find_command

            return find_command(cmd_name)
        return found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(f"Usage: {ctx.command_path} [OPTIONS] COMMAND …\n\n")
        formatter.write_text(self.help or "")
        rows = [(name, (command.help or "").split("\n")[0]) for name, command in self.commands.items()]
        write_section(formatter, "Commands", rows)
        write_section(formatter, "Commands of plugins", sorted(_commands_of_plugins().items()))
        write_section(formatter, "Options", [(_name(p), _meaning(p, {})) for p in self.get_params(ctx)])
        formatter.write(f"\n{self.epilog}\n" if self.epilog else "")


def _commands_of_plugins() -> Mapping[str, str]:
    """Those that were seen when the plugins were last loaded, for which the help does not wait."""
    from zoo.plugin.listing import read_listing

    listing = read_listing()
    return listing.commands if listing else {}


def write_section(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    """Write a title, and under it names beside their meanings; nothing if there are none."""
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def _panels(options: Iterable[Any]) -> dict[str, list[Any]]:
    """The options by panel, those without one last."""
    panels: dict[str, list[Any]] = {}
    for option in sorted(options, key=lambda option: not getattr(option, "rich_help_panel", None)):
        panels.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(option)
    return panels


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {parameter.metavar or (parameter.name or '').upper()}"


def _meaning(parameter: Any, defaults: Mapping[str, Any]) -> str:
    text, default = parameter.help or "", defaults.get(parameter.name)
    shown = parameter.show_default if isinstance(parameter.show_default, str) else default
    return text if shown is None or shown is False else f"{text} [{shown}]"
