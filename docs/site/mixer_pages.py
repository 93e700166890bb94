"""A page for each mixer and channel mixer, cut out of docs/mixers.md, with its traits and patterns to try."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from links import Site
from prose import anchor_of, code, cut, markdown, table

from zoo.contract import TokenMixer
from zoo.plugin.catalogue import Entry
from zoo.plugin.kinds import CHANNEL_MIXER, MIXER
from zoo.plugin.options import FILLED_BY_HOST
from zoo.plugin.registry import get_registry

ORIGIN = "docs/mixers.md"


def add_mixers(site: Site, root: Path) -> list[str]:
    """Add the page of all mixers, and one for each; returns the places of the latter."""
    text = (root / ORIGIN).read_text(encoding="utf-8")
    overview, places, seen = [], [], set()
    for family, section in cut(text, 2):
        if family:
            overview.append(f"## {family}\n")
            seen.add(anchor_of(family))
        first, *members = cut(section, 3)
        overview.append(first[1])
        if members:
            overview.append(table(["mixer", "what it does"], [_row(name, body) for name, body in members]) + "\n\n")
        for name, body in members:
            places.append(f"mixers/{name}")
            anchor = anchor_of(name) + ("-1" if anchor_of(name) in seen else "")
            site.add(places[-1], _page(name, family, body), origin=ORIGIN, anchors=[anchor])
    site.add("mixers", "".join(overview))
    return places


def _row(name: str, body: str) -> list[str]:
    return [f"[`{name}`](mixers/{name}.md)", body.strip().split("\n\n")[0].replace("\n", " ")]


def _page(name: str, family: str, body: str) -> str:
    kind = CHANNEL_MIXER if family == "Channel mixers" else MIXER
    entry = get_registry()[kind].find(name)
    parts = [f"# {name}", f"[{family}](#{anchor_of(family)})", body.strip()]
    if kind is MIXER:
        parts += ["## Traits", "\n".join(f"* {trait}" for trait in _traits(entry.cls))]
    parts += ["## Try it", code("\n".join(commands(entry)))]
    return "\n\n".join(parts) + "\n"


def _traits(cls: type[TokenMixer]) -> Iterator[str]:
    named = inspect.signature(cls.forward).parameters
    yield "Causal: a write depends on no later read." if cls.causal else "Not causal: a write depends on later reads."
    own = cls.step is not TokenMixer.step
    yield "Generates by a step of its own." if own else "Generates by keeping every read and running `forward` again."
    if "documents" in named:
        yield "Keeps packed documents apart by itself."
    else:
        yield "Packed documents are kept apart by the host, which runs each by itself."
    if "shared" in named:
        yield "Uses what earlier layers share."
    if isinstance(cls.max_length, int):
        yield f"Takes at most {cls.max_length:,} tokens."
    for law, reason in cls.expected_failures.items():
        yield f"Does not keep the law `{law}`: {markdown(reason)}"


def commands(entry: Entry[Any]) -> list[str]:
    """Commands to copy that train with a member, alone and beside another, and say what there is to know of it."""
    call = entry.name + _example_of_options(entry)
    if entry.kind == CHANNEL_MIXER:
        patterns = [f"--channel-mixer {_quoted(call)}", f"--mixer 'correlation/{entry.name}, dot-product'"]
        return [*(f"zoo train {pattern}" for pattern in patterns), f"zoo info channel-mixer:{entry.name}"]
    other = "dot-product" if entry.name != "dot-product" else "gated-deltanet"
    patterns = list(dict.fromkeys([entry.name, call, f"{entry.name}*3, {other}"]))
    return [*(f"zoo train --mixer {_quoted(pattern)}" for pattern in patterns), f"zoo info {entry.name}"]


def _example_of_options(entry: Entry[Any]) -> str:
    """The first option that is a member's own and not empty, as a pattern writes it, at its default."""
    for option in entry.options:
        if option.name not in FILLED_BY_HOST and isinstance(option.default, bool | int | float | str):
            return f"({option.name}={json.dumps(option.default)})"
    return ""


def _quoted(pattern: str) -> str:
    return f"'{pattern}'" if set(pattern) & set(" (*/") else pattern
