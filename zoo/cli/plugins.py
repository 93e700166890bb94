"""``zoo plugins``: what was found, what it gives, and what is broken."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.output import print_json, print_table, say
from zoo.errors import PluginError

if TYPE_CHECKING:
    from rich.text import Text


def plugins(json: Annotated[bool, typer.Option("--json", help="Print JSON, with tracebacks.")] = False) -> None:
    """List the plugins, and why one is broken.

    The exit code is 4 if one is. A plugin whose import changed global state, e.g. random numbers or the default dtype,
    is named too; the state was restored. Two lists of distributions, with commas, in the environment: ZOO_PLUGINS
    allows only these beside the built-in one, ZOO_BLOCK_PLUGINS forbids some.
    """
    from zoo.describe.plugins import list_plugins
    from zoo.plugin.registry import get_registry

    found = list_plugins(get_registry())
    if json:
        print_json(found)
    elif found:
        columns = ("distribution", "version", "entry point", "gives", "status")
        print_table(columns, [_row(plugin) for plugin in found])
    else:
        say("no plugin is installed, or none is allowed by ZOO_PLUGINS and ZOO_BLOCK_PLUGINS")
    if any(plugin["status"] == "broken" for plugin in found):
        raise typer.Exit(PluginError.exit_code)


def _row(plugin: dict[str, Any]) -> tuple["str | Text", ...]:
    from rich.text import Text

    broken, changed = plugin["status"] == "broken", plugin["changed_global_state"]
    status = Text(f"broken: {plugin['error']}" if broken else "ok", style="red" if broken else "green")
    if changed:
        status.append(f"; its import changed global state, now restored: {', '.join(changed)}", style="yellow")
    names, commands = ("distribution", "version", "entry_point"), plugin["commands"]
    return (
        *(str(plugin[name]) for name in names),
        ", ".join([*(name for given in plugin["gives"].values() for name in given), *map("zoo {}".format, commands)]),
        status,
    )
