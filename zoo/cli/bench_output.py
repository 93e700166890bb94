"""What the commands of benches share: the folder that gets the figures, and what is printed of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from zoo.cli.output import INTERRUPTED, print_json, say, warn

BENCHES = Path("bench")
"""Where the folders of benches go, seen from where the command is given."""


def measure_and_write(
    request: Any,
    out: Path | None,
    measure: Callable[[Any], Any],
    write: Callable[[Any, Path], None],
) -> tuple[Any, Path]:
    """Measure, and write what was measured, into a folder that was made before.

    Args:
        request: of the bench.
        out: the folder; None makes one whose name says when it was made and of which patterns.
        measure: gives the bench, with whoever looks on as its argument.
        write: writes it into the folder.
    """
    from zoo.cli.bench_display import listening
    from zoo.lab.bench.write import new_folder

    folder = new_folder(request, root=BENCHES, out=out)
    with listening() as listener:
        measured = measure(listener)
    if not measured.cells:
        folder.rmdir()
        raise KeyboardInterrupt
    write(measured, folder)
    return measured, folder


def report(measured: Any, folder: Path, figures: Callable[[Any], dict[str, Any]], *, json: bool) -> None:
    """Print the tables or the JSON, and end the command with the exit code that suits them."""
    if json:
        print_json(figures(measured) | {"folder": str(folder)})
    else:
        print(measured)
    if not measured.complete:
        warn("interrupted: what was measured so far is shown and saved, marked as incomplete")
    say(f"report: {folder / 'report.html'}")
    if not measured.complete:
        raise typer.Exit(INTERRUPTED)
    if measured.failed:
        raise typer.Exit(1)
