"""``zoo list``: what is registered."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.output import print_json, print_table, say, warn

if TYPE_CHECKING:
    from rich.text import Text

    from zoo.plugin.registry import Registry


def list_members(
    glob: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match.")] = "*",
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="mixer, channel-mixer, residual, task, corpus, tokenizer, …; or all.")
    ] = "mixer",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the mixers, or the members of another kind."""
    from zoo.describe.members import list_members as describe_members
    from zoo.plugin import kinds
    from zoo.plugin.registry import get_registry

    chosen = kinds.KINDS if kind == "all" else (kinds.find_kind(kind, also=("all",)),)
    registry = get_registry()
    members = [member for each in chosen for member in describe_members(registry, each, glob)]
    tell_broken(registry)
    if json:
        print_json(members)
    elif members:
        heads = ("name", *(("kind",) if len(chosen) > 1 else ()), "summary", "paper", "from")
        print_table(heads, [_row(member, with_kind=len(chosen) > 1) for member in members])
    elif any(registry[each].entries for each in chosen):
        say(f"no {chosen[0] if len(chosen) == 1 else 'member'} matches {glob!r}; see all with: zoo list --kind {kind}")
    else:
        say(f"no {chosen[0]} is registered: install one, e.g. pip install mixer-zoo, and look at: zoo plugins")


def tell_broken(registry: "Registry") -> None:
    """Say which plugins are missing from a list."""
    if registry.broken:
        names = ", ".join(str(plugin.origin) for plugin in registry.broken)
        warn(f"not loaded, because broken: {names}; see: zoo plugins")


def _row(member: dict[str, Any], *, with_kind: bool) -> tuple["str | Text", ...]:
    from rich.text import Text

    kind = (member["kind"],) if with_kind else ()
    name = Text(member["name"], style="bold")
    return name, *kind, member["summary"], member["paper"], member["origin"]["distribution"]
