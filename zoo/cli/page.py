"""What the pages about one mixer or one task are made of."""

import re
from collections.abc import Mapping
from textwrap import indent
from typing import TYPE_CHECKING, Any

from zoo.cli.output import plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def head(member: Mapping[str, Any]) -> list["RenderableType"]:
    """The call with the first sentence, the equation, and the text of the docstring, each where there is one."""
    from rich.console import Group
    from rich.text import Text

    blocks: list[RenderableType] = [Text.assemble((member["call"], "bold"), "\n", member["summary"].replace("`", ""))]
    if member["equation"]:
        # In a group, because a console joins texts of its own into one that wraps.
        blocks.append(Group(Text(indent(member["equation"], " " * 4), style="cyan", no_wrap=True, overflow="ignore")))
    if member["text"]:
        blocks.append(Text(flowing(member["text"])))
    if member["options"]:
        rows = [(Text(o["name"], style="bold"), o["type"], _default(o), o["meaning"]) for o in member["options"]]
        blocks.append(plain_table(("option", "type", "default", "meaning"), rows))
    return blocks


def figures(rows: Mapping[str, str]) -> "Table":
    """Texts behind their labels; a row without a text is left out."""
    from rich.text import Text

    return plain_table((), [(Text(label, style="dim"), Text(text)) for label, text in rows.items() if text])


def sources(member: Mapping[str, Any]) -> dict[str, str]:
    """What it refuses, and where it comes from."""
    origin = member["origin"]
    return {
        "errors": re.sub(r"\n\s+", " ", member["errors"]),
        "source": flowing(member["source"]),
        "paper": member["paper"],
        "origin": f"{origin['distribution']} {origin['version']}, entry point {origin['entry_point']!r}",
        "file": origin["file"] or "",
    }


def flowing(text: str) -> str:
    """Paragraphs without the markup and the line ends of the source; what is indented stays as it is."""
    paragraphs = text.replace("`", "").split("\n\n")
    return "\n\n".join(p if "\n " in f"\n{p}" else " ".join(p.split()) for p in paragraphs)


def _default(option: Mapping[str, Any]) -> str:
    from zoo.plugin.options import FILLED_BY_HOST

    if option["required"]:
        return "required"
    if option["name"] in FILLED_BY_HOST:
        return "from the model"
    return str(_with_tuples(option["default"])) or "''"


def _with_tuples(value: Any) -> Any:
    """The value as a pattern spells it, where JSON knows lists only."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
