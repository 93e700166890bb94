"""A page for each kind of member: its base class, its members, its laws."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from links import Site
from prose import code, docstring, markdown, table

from zoo.describe.members import describe_member
from zoo.plugin.kinds import CHANNEL_MIXER, KINDS, MIXER, Kind
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Entry, get_registry
from zoo.testing.kinds import SUITES

DISTRIBUTION = "mixer-zoo"
_GUIDES = {"mixer": "mixers", "residual": "residuals", "task": "tasks", "optimizer": "optimizers", "executor": "scale"}
"""The page that a kind has beside the generated one."""


def add_kinds(site: Site, root: Path) -> list[str]:
    """Add the page of all kinds, and one for each; returns the places of the latter."""
    plugins = (root / "docs/plugins.md").read_text(encoding="utf-8")
    rows = []
    for kind in KINDS:
        members = built_ins(kind)
        chosen = re.search(rf"^\| `{kind.name}` \|.*\| (.*) \|$", plugins, re.MULTILINE)
        if chosen is None:
            raise SystemExit(f"docs/plugins.md has no row for the kind {kind.name}")
        rows.append([f"[{_title(kind)}](kinds/{kind.name}.md)", f"`{kind.base_name}`", str(len(members)), chosen[1]])
        site.add(f"kinds/{kind.name}", "\n\n".join(_page(kind, members, chosen[1])) + "\n")
    heads = ["kind", "base class", "built in", "chosen by"]
    text = ["# Kinds", "Every part of a model is a member of a kind, and [plugins](plugins.md) bring members of each."]
    site.add("kinds", "\n\n".join([*text, table(heads, rows)]) + "\n")
    return [f"kinds/{kind.name}" for kind in KINDS]


def built_ins(kind: Kind) -> list[Entry[Any]]:
    """The registered members of a kind that come with this repository, in natural order."""
    return [entry for entry in get_registry()[kind].list("*") if entry.origin.distribution == DISTRIBUTION]


def _page(kind: Kind, members: list[Entry[Any]], chosen: str) -> Iterator[str]:
    name = kind.name
    yield f"# {_title(kind)}"
    guide = f" See also [the guide](../{_GUIDES[name]}.md)." if name in _GUIDES else ""
    yield (
        f"Base class `{kind.base_name}`, hook `{kind.hook}()`, chosen by {chosen}. "
        f"[A recipe](../../CONTRIBUTING.md#{name}) says how to write one.{guide}"
    )
    if kind.base_name.startswith("zoo."):
        yield docstring(inspect.getdoc(kind.load_base()) or "")
    yield "## Members"
    own = kind in (MIXER, CHANNEL_MIXER)
    yield table(["name", "what it is"], [_row(entry, own) for entry in members])
    if not own:
        yield from (part for entry in members for part in _member(entry))
    if name not in SUITES:
        return
    laws = SUITES[name].laws.values()
    yield "## Laws"
    yield "What `zoo check` asks of a member of this kind. [The laws](../laws.md) says which bugs they catch."
    yield table(["law", "promise"], [[f"`{law.id}`", markdown(law.promise)] for law in laws])


def _title(kind: Kind) -> str:
    return (f"{kind.words}s" if kind.words else kind.plural).capitalize()


def _row(entry: Entry[Any], own: bool) -> list[str]:
    link = f"../mixers/{entry.name}.md" if own else f"#{entry.name}"
    return [f"[`{entry.name}`]({link})", markdown(entry.summary)]


def _member(entry: Entry[Any]) -> Iterator[str]:
    member = describe_member(Call(entry.name, ()), entry, get_registry())
    yield f"### {entry.name}"
    yield markdown(member["summary"])
    if member["equation"]:
        yield code(member["equation"])
    if member["text"].strip():
        yield markdown(member["text"])
    if member.get("pattern"):
        yield code(member["pattern"])
    if member["options"]:
        yield table(["option", "type", "default", "meaning"], [_option(option) for option in member["options"]])
    if member["source"] or member["paper"]:
        yield f"Source: {markdown(' '.join((member['source'] or member['paper']).split()))}"


def _option(option: dict[str, Any]) -> list[str]:
    default = "required" if option["required"] else f"`{option['default']}`"
    return [f"`{option['name']}`", f"`{option['type']}`", default, markdown(option["meaning"])]
