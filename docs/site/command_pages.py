"""A page for each command: its help, as it is printed, and its section of docs/cli.md."""

import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import typer
from links import Site
from prose import anchor_of, code, cut, markdown, raise_headings, table

from zoo.cli.main import app, run

ORIGIN = "docs/cli.md"
WIDTH = 90
"""Of the terminal for which a help is set: as many columns as a page of the site shows."""


def add_commands(site: Site, root: Path) -> list[str]:
    """Add the page of the command line, and one for each command; returns the places of the latter."""
    first, *sections = cut((root / ORIGIN).read_text(encoding="utf-8"), 2)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    described = {title.removeprefix("zoo "): body for title, body in sections}
    for name, command in commands.items():
        text = "\n\n".join(_page(name, command, described.get(name, "")))
        site.add(f"commands/{slug(name)}", f"{text}\n", origin=ORIGIN, anchors=[anchor_of(f"zoo {name}")])
    rows = [[f"[`zoo {name}`](commands/{slug(name)}.md)", markdown(_summary(one))] for name, one in commands.items()]
    kept = [f"## {title}\n{body}" for title, body in sections if title.removeprefix("zoo ") not in commands]
    listed = re.sub(
        r"^```\nzoo train .*?^```$",
        lambda _: table(["command", "what it does"], rows),
        first[1],
        count=1,
        flags=re.M | re.S,
    )
    site.add("cli", listed + "".join(kept) + f"## zoo --help\n\n{code(help_of([]))}\n")
    return [f"commands/{slug(name)}" for name in commands]


def slug(name: str) -> str:
    """The name of a page, of a command of one word or two."""
    return name.replace(" ", "-")


def _page(name: str, command: Any, section: str) -> Iterator[str]:
    yield f"# zoo {name}"
    yield _summary(command)
    yield code(help_of(name.split()))
    for part in getattr(command, "commands", {}):
        yield f"## zoo {name} {part}"
        yield code(help_of([name, part]))
    if section:
        yield raise_headings(section.strip(), 1)


def _summary(command: Any) -> str:
    return str(command.help or "").strip().split("\n")[0]


def help_of(words: list[str]) -> str:
    """What ``zoo … --help`` prints."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            failed = run([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    if failed:
        raise SystemExit(f"zoo {' '.join(words)} --help failed")
    return printed.getvalue().rstrip()
