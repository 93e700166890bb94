"""What ``zoo inspect`` left in the folder of a run, read for the report."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.files.strict_json import from_json
from zoo.pages.picture import svg_of

FOLDER = "inspection"
INDEX = "inspection.json"
"""In that folder: the figures, and which picture shows what."""

_PICTURE = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True)
class Figure:
    """A picture, or why there is none.

    Attributes:
        title: what is shown.
        text: how to read it, or what went wrong.
        svg: an ``<svg>`` element; empty where there is no picture.
    """

    title: str
    text: str
    svg: str = ""


@dataclass(frozen=True)
class Section:
    """What a report shows of an inspection.

    Attributes:
        about: on what it was measured, and how good the whole model was.
        rows: a row a part: its name, the size of its writes beside the stream, the loss without it, the difference, the
            accuracy.
        metrics: single numbers that mixers measured of themselves, by name.
        overview: the figures of the whole model.
        figures: those of each part that has some, by its name.
    """

    about: str
    rows: list[tuple[str, ...]]
    metrics: list[tuple[str, str]]
    overview: list[Figure]
    figures: dict[str, list[Figure]]


def read_inspection(run: Path) -> Section | None:
    """The section for the report of the run in that folder; None where none was made, or its files are damaged."""
    try:
        table = read_index(run)
        return _section(table, run / FOLDER)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return None


def read_index(run: Path) -> dict[str, Any]:
    """What ``inspection.json`` holds.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is damaged.
    """
    table = from_json((run / FOLDER / INDEX).read_text(encoding="utf-8"))
    if not isinstance(table, dict):
        raise ValueError("not an object")
    return table


def picture_name(entry: dict[str, Any]) -> str:
    """The name of a panel's files without their ending.

    Raises:
        ValueError: it is none that an inspection gives; who reads or removes such a file might leave the folder.
    """
    name = entry["picture"]
    if not isinstance(name, str) or not _PICTURE.fullmatch(name):
        raise ValueError(f"{name!r} names no picture")
    return name


def number(value: float | None, form: str) -> str:
    """A figure as text."""
    return "n/a" if value is None else format(value, form)


def part_rows(table: dict[str, Any]) -> list[tuple[str, ...]]:
    """The parts as rows of text, as `Section` has them."""
    return [
        (
            part["part"],
            number(part["share"], ".3f"),
            number(part["loss_without"], ".4f"),
            number(part["difference"], "+.4f"),
            number(part["accuracy_without"], ".1%"),
        )
        for part in table["parts"]
    ]


def _section(table: dict[str, Any], folder: Path) -> Section:
    loss = f"{number(table['loss'], '.4f')} {table.get('unit', 'nats per token')}"
    about = (
        f"After step {table['step']:,d}, measured on {table['tokens']:,d} validation targets. "
        f"The whole model: loss {loss}, accuracy {number(table['accuracy'], '.1%')}."
    )
    metrics = [(name, number(value, ".4g")) for name, value in table["metrics"].items() if not isinstance(value, list)]
    overview = [_figure(entry, folder) for entry in table["panels"] if entry["part"] is None]
    figures: dict[str, list[Figure]] = {part["part"]: [] for part in table["parts"]}
    for entry in [*table["panels"], *table["failures"]]:
        if entry["part"] is not None:
            figures.setdefault(entry["part"], []).append(_figure(entry, folder))
    return Section(about, part_rows(table), metrics, overview, {part: of for part, of in figures.items() if of})


def _figure(entry: dict[str, Any], folder: Path) -> Figure:
    if "error" in entry:
        text = f"The panels of {entry['mixer']}, from {entry['distribution']}, failed: {entry['error']}"
        return Figure("no panels", text)
    try:
        svg = svg_of((folder / f"{picture_name(entry)}.svg").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Figure(entry["title"], f"{entry['reading']} The picture is missing: run `zoo inspect` again.")
    return Figure(entry["title"], entry["reading"], svg)
