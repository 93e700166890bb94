"""``zoo list``: the mixers that are registered."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.output import print_json, print_table, say, warn

if TYPE_CHECKING:
    from rich.text import Text

    from zoo.plugin.registry import Registry


def list_mixers(
    glob: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match.")] = "*",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the mixers."""
    from zoo.describe import list_entries
    from zoo.plugin.registry import get_registry

    registry = get_registry()
    mixers = list_entries(registry, glob)
    tell_broken(registry)
    if json:
        print_json(mixers)
    elif mixers:
        print_table(("name", "summary", "causal", "paper", "from"), [_row(mixer) for mixer in mixers])
    elif registry.mixers.entries:
        say(f"no mixer matches {glob!r}; see all with: zoo list")
    else:
        say("no mixer is registered: install one, e.g. pip install mixer-zoo, and look at: zoo plugins")


def tell_broken(registry: "Registry") -> None:
    """Say which plugins are missing from a list."""
    if registry.broken:
        names = ", ".join(str(plugin.origin) for plugin in registry.broken)
        warn(f"not loaded, because broken: {names}; see: zoo plugins")


def _row(mixer: dict[str, Any]) -> tuple["str | Text", ...]:
    from rich.text import Text

    causal = "yes" if mixer["causal"] else "no"
    return Text(mixer["name"], style="bold"), mixer["summary"], causal, mixer["paper"], mixer["origin"]["distribution"]
