"""The commands of plugins, found when one is asked for."""

import copy
from typing import Any

import typer

from zoo.cli.help import Command
from zoo.errors import PluginError, UsageError
from zoo.plugin.commands import PluginCommand
from zoo.plugin.known import COMMAND, how_to_install


def find_command(name: str) -> Any:
    """The command of an installed plugin, by its name or ``distribution:name``; None where no plugin has it.

    Raises:
        UsageError: several plugins have it.
        PluginError: the plugin that should give it is broken or not installed.
    """
    from zoo.plugin.catalogue import normal_name
    from zoo.plugin.registry import get_registry, has_plugins

    owner, _, plain = name.rpartition(":")
    plugins = get_registry().plugins if has_plugins() else ()
    asked = [plugin for plugin in plugins if normal_name(owner) in ("", normal_name(plugin.origin.distribution))]
    found = [(plugin.origin, command) for plugin in asked for command in plugin.commands if command.name == plain]
    if len(found) > 1:
        origins = " and ".join(str(origin) for origin, _ in found)
        names = " or ".join(f"zoo {origin.distribution}:{plain}" for origin, _ in found)
        raise UsageError(f"the command {plain!r} is given by {origins}: write {names}")
    if found:
        return _made(found[0][1])
    if (install := how_to_install(COMMAND, plain)) is None:
        return None
    for plugin in plugins:
        if plugin.error and plugin.origin.distribution == install.rpartition(" ")[2]:
            raise PluginError(
                f"the command {plain!r} should come from {plugin.origin}, which is broken: {plugin.error}"
            )
    raise PluginError(f"the command {plain!r} comes with a plugin: {install}")


def remember_plugins() -> None:
    """Keep the names of what the plugins give, where they have been loaded, for the help and for completion."""
    from zoo.cli.completing.remembered import describe_words, version_of_sources
    from zoo.plugin.listing import remember
    from zoo.plugin.registry import discovered

    if (registry := discovered()) is not None:

        def describe() -> dict[str, Any]:
            from zoo.cli.completing.program import describe_program

            commands = [command for plugin in registry.plugins for command in plugin.commands]
            program = describe_program({command.name: _made(command) for command in commands})
            return {"words": describe_words(registry), "program": program}

        remember(registry, sources=version_of_sources(), describe=describe)


def _made(command: PluginCommand) -> Any:
    """What typer runs. Its help looks like that of the other commands."""
    info = copy.copy(command.info)
    info.name = command.name
    if command.is_group:
        return typer.main.get_group_from_info(
            info, pretty_exceptions_short=False, suggest_commands=False, rich_markup_mode=None
        )
    info.cls = Command if info.cls in (None, typer.core.TyperCommand) else info.cls
    return typer.main.get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
