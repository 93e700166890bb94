"""``zoo inspect``: what each part of a trained model does."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.files import AllowChanged
from zoo.cli.latest import folder_argument
from zoo.cli.output import console, print_json, print_lines, print_table, warn


def inspect(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=folder_argument, help="The folder of a run, or latest.")],
    tokens: Annotated[int, typer.Option(metavar="N", help="About how many validation tokens to measure on.")] = 16384,
    data: Annotated[str | None, typer.Option(metavar="PATH", help="Where the run's text lies now, if moved.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Show what each part of a trained model does.

    How much each part writes to the stream, what the model loses without it, and what its mixers have to show: in
    the run's report.html, with the pictures in its folder inspection. Example:

    zoo inspect runs/20250131-… --tokens 65536
    """
    from zoo.cli.train import latest_run
    from zoo.errors import UsageError
    from zoo.lab.inspect.inspection import inspect_run
    from zoo.lab.inspect.writing import write_inspection
    from zoo.run import load_run
    from zoo.train.machine import resolve_auto
    from zoo.train.run_directory import RunDirectory
    from zoo.train.settings import validate

    if tokens < 1:
        raise UsageError(f"--tokens {tokens} should be 1 or more")
    run = latest_run(run)
    with RunDirectory.open(run).lock():
        loaded = load_run(run, device=resolve_auto(validate({"device": device})).device)
        for warning in loaded.warnings:
            warn(warning)
        with spinner() as progress:
            inspection = inspect_run(loaded, tokens=tokens, data=data, progress=progress)
            table, report = write_inspection(loaded, inspection)
    for warning in inspection.warnings:
        warn(warning)
    for failed in table["failures"]:
        origin = f"{failed['mixer']}, from {failed['distribution']}"
        warn(f"{failed['part']}: the panels of {origin}, failed: {failed['error']}")
    if json:
        print_json(table | {"report": str(report)})
    else:
        _print(table, report)


@contextmanager
def spinner() -> Iterator[Callable[[str], None]]:
    """On a terminal, what is being done; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.text import Text

    with console(sys.stderr).status("") as status:
        yield lambda text: status.update(Text(text))


def _print(table: dict[str, Any], report: Path) -> None:
    from zoo.train.inspection import number, part_rows

    columns = ("part", "write / stream", "loss without it", "difference", "accuracy without it")
    whole = ("whole model", "", number(table["loss"], ".4f"), "", number(table["accuracy"], ".1%"))
    print_table(columns, [*part_rows(table), whole])
    measured = f"{table['tokens']:,d} validation targets, after step {table['step']:,d}"
    print_lines({"measured on": measured, "report": str(report)})
