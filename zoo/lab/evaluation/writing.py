"""An evaluation, written into a folder: its figures, its pictures and a page."""

import math
import os
import re
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.files.atomic import cannot_make, write_atomically, writing
from zoo.files.strict_json import to_json
from zoo.lab.evaluation.drawing import NAMES, Picture, pictures_of
from zoo.lab.evaluation.result import Evaluation, as_table
from zoo.pages.page import markup, printable, render_page
from zoo.pages.picture import render, svg_of
from zoo.train.shell import quote

FOLDER = "eval"
"""Within that of the run."""

INDEX = "eval.json"
PAGE = "report.html"


def folder_for(evaluation: Evaluation, out: Path | None) -> Path:
    """Where an evaluation goes: ``eval`` in the run, and of other data a folder of their own in there."""
    if out is not None:
        return out
    folder = evaluation.run / FOLDER
    slug = re.sub(r"[^a-z0-9]+", "-", evaluation.data.lower())[:40].strip("-") or "data"
    return folder if evaluation.own else folder / f"{slug}-{evaluation.data_sha256[:8]}"


def check_folder(folder: Path) -> None:
    """Refuse a place where something else lies than an earlier evaluation, which is replaced.

    Raises:
        UsageError: with what to do.
    """
    for place in (folder, folder.parent if folder.parent.name == FOLDER else folder):
        if place.is_symlink():
            raise UsageError(f"{place} is a link, through which nothing is written: choose another `out`")
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another `out`")
    known = folder.is_dir() and ((folder / INDEX).is_file() or all(map(_holds_one, folder.iterdir())))
    if folder.is_dir() and not known:
        raise UsageError(f"{folder} holds other files: choose another `out`, so that nothing of them is lost")


def write_evaluation(evaluation: Evaluation, folder: Path, *, command: str) -> Path:
    """Write ``eval.json``, the pictures as PNG and SVG, and ``report.html``, in place of those of an evaluation before.

    Args:
        evaluation: what was found.
        folder: made where it is missing.
        command: what makes it again, for the page.

    Returns:
        The page.

    Raises:
        UsageError: something else lies there.
        ZooError: a file cannot be written.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_make("folder", folder, error) from None
    pictures = pictures_of(evaluation)
    drawn = {f"{picture.name}.{form}": render(picture.draw, form) for picture in pictures for form in ("svg", "png")}
    page = render_page("zoo.lab.evaluation/report.html.j2", **_values(evaluation, pictures, drawn, command))
    for name, content in drawn.items():
        write_atomically(folder / name, content)
    with writing(folder):
        for name in {f"{name}.{form}" for name in NAMES for form in ("svg", "png")} - set(drawn):
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / PAGE, page)
    write_atomically(folder / INDEX, to_json(as_table(evaluation)))
    return folder / PAGE


def _holds_one(folder: Path) -> bool:
    return (folder / INDEX).is_file()


def length_rows(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    """A table of the lengths of a text: its head, and its rows."""
    last = f"last {evaluation.last:,} tokens"
    head = ["length", "x context", "loss", "accuracy", f"loss, {last}", f"accuracy, {last}"]
    rows = [
        [
            f"{result.length:,}",
            f"{result.length / evaluation.context:g}",
            number(result.loss, ".4f"),
            number(result.accuracy, ".1%"),
            number(result.last_loss, ".4f"),
            number(result.last_accuracy, ".1%"),
        ]
        for result in evaluation.lengths
    ]
    return head, rows


def accuracy_rows(evaluation: Evaluation) -> list[tuple[str, list[list[str]]]]:
    """Of a task by length and by slice: value, accuracy, and what guessing gives."""
    return [
        (name, [[value, number(a, ".1%"), number(levels.get(value), ".1%")] for value, a in accuracies.items()])
        for name, accuracies in evaluation.accuracies.items()
        for levels in [evaluation.guess_levels.get(name, {})]
    ]


def about(evaluation: Evaluation) -> str:
    """On what it was measured, in a sentence."""
    own = "validation targets of" if evaluation.own else "targets of"
    return f"{evaluation.targets:,} {own} {printable(evaluation.data)}, after step {evaluation.step:,}"


def number(value: float | None, form: str) -> str:
    """A figure as text."""
    return "n/a" if value is None or not math.isfinite(value) else format(value, form)


def _values(evaluation: Evaluation, pictures: list[Picture], drawn: dict[str, bytes], command: str) -> dict[str, Any]:
    head, rows = length_rows(evaluation)
    return {
        "heading": f"eval: {evaluation.mixer}",
        "name": str(evaluation.run.absolute().name),
        "about": about(evaluation),
        "notes": [printable(note) for note in evaluation.notes],
        "figures": _figures(evaluation),
        "pictures": [
            (picture.title, picture.reading, markup(svg_of(drawn[f"{picture.name}.svg"].decode())))
            for picture in pictures
        ],
        "head": head,
        "rows": rows,
        "measured": _measured(evaluation),
        "accuracies": accuracy_rows(evaluation),
        "command": command,
    }


def _measured(evaluation: Evaluation) -> str:
    """On what the lengths were measured: not on all that the figures at the top are of."""
    if not evaluation.lengths:
        return ""
    longest = evaluation.lengths[-1]
    return (
        f"{longest.targets:,} targets in sequences of {longest.length:,} tokens, spread evenly over the data and cut "
        "into shorter ones; the figures at the top are of all that was measured at the context"
    )


def _figures(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """What, how much, in which unit."""
    figures = [
        ("loss", number(evaluation.loss, ".4f"), evaluation.unit),
        ("accuracy", number(evaluation.accuracy, ".1%"), "of the targets"),
        ("perplexity", number(evaluation.perplexity, ",.4g"), "e to the loss"),
        ("compression", number(evaluation.bits_per_byte, ".4f"), "bits per byte"),
        ("trained at", f"{evaluation.context:,}", "tokens in a sequence"),
    ]
    return [figure for figure in figures if figure[1] != "n/a" or figure[0] == "loss"]


def command_for(evaluation: Evaluation, arguments: list[str]) -> str:
    """What makes it again."""
    return " ".join(["zoo eval", quote(str(evaluation.run)), *arguments])
