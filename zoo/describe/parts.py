"""What the descriptions of mixers and tasks have in common: docstrings, options, sources."""

import inspect
import re
import textwrap
from collections import defaultdict
from typing import Any

from zoo.errors import UsageError
from zoo.plugin.catalogue import Entry
from zoo.plugin.options import REQUIRED, Option
from zoo.plugin.pattern.text import canonical_value

_HEADER = re.compile(r"(Args|Options|Cost|Raises|Errors|Source|Sources):[ \t]*\n?")
_SECTION = {"": "text", "Raises": "errors", "Errors": "errors", "Cost": "cost", "Source": "source", "Sources": "source"}


def parse_doc(doc: str) -> dict[str, str]:
    """The parts of a docstring: summary, equation, text, cost, errors and source; empty where it has none.

    The equation is what is indented before the first section, the text what stands there and is not. The options
    are left out: they have a table of their own; so are arguments that the host gives.
    """
    first, *blocks = re.split(r"\n(?:[ \t]*\n)+", doc)
    parts: defaultdict[str, list[str]] = defaultdict(list)
    section = ""
    for block in blocks:
        header = _HEADER.match(block)
        indented = block.startswith((" ", "\t"))
        if header:
            section = header[1]
        elif not indented:
            section = ""
        body = textwrap.dedent(block[header.end() :] if header else block)
        parts["equation" if indented and not section else _SECTION.get(section, "")].append(body.strip("\n"))
    names = ("equation", "text", "cost", "errors", "source")
    return {"summary": " ".join(first.split())} | {name: "\n\n".join(parts[name]) for name in names}


def tell_option(option: Option) -> dict[str, Any]:
    """Name, type, default, whether it is required, and meaning."""
    return {
        "name": option.name,
        "type": option.type_text,
        "default": None if option.default is REQUIRED else _plain(option.default),
        "required": option.required,
        "meaning": option.meaning,
    }


def tell_origin(entry: Entry[Any]) -> dict[str, str]:
    """Distribution, version and entry point."""
    origin = entry.origin
    return {"distribution": origin.distribution, "version": origin.version, "entry_point": origin.entry_point}


def source_file(entry: Entry[Any]) -> str | None:
    """Where the class is written; of one that was made on the fly, where its plugin is."""
    try:
        return inspect.getsourcefile(entry.cls)
    except (OSError, TypeError):
        return entry.origin.file


def _plain(value: Any) -> Any:
    """A default as a pattern spells it, or as Python writes what no pattern can."""
    try:
        return _with_lists(canonical_value(value))
    except UsageError:
        return repr(value)


def _with_lists(value: Any) -> Any:
    return [_with_lists(part) for part in value] if isinstance(value, tuple) else value
