"""``zoo plot``: lay the curves of runs over one another."""

import os
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.latest import folder_argument
from zoo.cli.output import print_json, print_lines, warn
from zoo.errors import UsageError

_FORMS = {".png": "png", ".svg": "svg"}


def plot(
    *,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN …", parser=folder_argument, help="Folders of runs or comparisons, or latest."),
    ],
    x: Annotated[
        str, typer.Option("--x", metavar="WHAT", help="What they are drawn against: steps, tokens, seconds or flops.")
    ] = "steps",
    y: Annotated[
        str, typer.Option("--y", metavar="WHAT", help="validation, loss (training), accuracy, lr or gradient-norm.")
    ] = "validation",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="curves.png", help="The picture, .png or .svg; new.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the points as one JSON object.")] = False,
) -> None:
    """Lay the curves of runs over one another.

    A comparison stands for its runs that count. Example:

    zoo plot runs/20250131-* --x flops --out losses.svg
    """
    from zoo.cli.train import latest_run
    from zoo.files.atomic import write_atomically
    from zoo.lab.evaluation.curves import read_overlay
    from zoo.lab.evaluation.overlay import draw_overlay
    from zoo.pages.picture import render

    path = _free_name() if out is None else out
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"--out {path} should end in .png or .svg")
    if os.path.lexists(path):
        raise UsageError(f"{path} exists: choose another --out")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}; make it first")
    overlay = read_overlay([latest_run(run) for run in runs], x=x, y=y)
    for note in overlay.notes:
        warn(note)
    write_atomically(path, render(partial(draw_overlay, overlay), form))
    if json:
        curves = [{"run": str(c.run), "label": c.label, "x": c.x.tolist(), "y": c.y.tolist()} for c in overlay.curves]
        print_json({"picture": str(path), "x": x, "y": y, "unit": overlay.unit, "curves": curves})
    else:
        print_lines({"picture": str(path)})


def _free_name() -> Path:
    """The first of ``curves.png``, ``curves-2.png`` and so on that is free."""
    names = (Path("curves.png" if number == 1 else f"curves-{number}.png") for number in count(1))
    return next(path for path in names if not os.path.lexists(path))
