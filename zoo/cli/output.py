"""How the commands speak: data goes to stdout, words to stderr; tables for people, JSON for machines."""

import contextlib
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from zoo.files.strict_json import to_json
from zoo.plugin.stdout import stdout_to_stderr

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

INTERRUPTED = 130
"""The exit code of a command that the user stopped."""

PAGE_WIDTH = 100
"""Columns of what is read rather than searched."""


def say(text: str, *, label: str = "", style: str = "") -> None:
    """A line for the user, on stderr, after a label in the given style."""
    from rich.text import Text

    line = Text.assemble((label, style), " " if label else "", text)
    console(sys.stderr).print(line, soft_wrap=True)


def warn(text: str) -> None:
    """A line on stderr that the user should not miss."""
    say(text, label="note:", style="bold yellow")


def print_json(content: Any) -> None:
    """One JSON value on stdout. What is no finite number is null: JSON has no other word for it."""
    text = to_json(content)
    if _kept is None:
        sys.stdout.write(text)
    else:
        _kept.append(text)


def print_json_line(content: Any) -> None:
    """One JSON value on stdout, as a line, at once: for values of which some are there long before others."""
    stream = sys.stdout if _stdout is None else _stdout
    stream.write(to_json(content, indent=None))
    stream.flush()


_kept: list[str] | None = None
"""The JSON that waits for `json_only` to end; None where nothing keeps stdout."""

_stdout: TextIO | None = None
"""Where stdout went before `json_only`; None where nothing keeps it."""


@contextlib.contextmanager
def json_only() -> Iterator[None]:
    """Print to stdout what `print_json` is given, once the block is left, and nothing else.

    Whatever else is printed meanwhile, e.g. by a mixer in its ``forward``, by native code or by a compiler that it
    starts, goes to stderr. Lines of `print_json_line` do not wait.
    """
    global _kept, _stdout  # noqa: PLW0603 - there is one stdout, too
    _kept = values = list[str]()
    try:
        with _same_stdout() as _stdout, stdout_to_stderr():
            yield
    finally:
        _kept = _stdout = None
        for text in values:
            sys.stdout.write(text)


@contextlib.contextmanager
def _same_stdout() -> Iterator[TextIO]:
    """A stream to where stdout goes now, wherever its descriptor leads later."""
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # it is no file, but e.g. in a notebook or a test
        yield sys.stdout
        return
    stream = open(descriptor, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: PTH123, SIM115
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):  # its reader has gone
            stream.close()


def print_lines(*groups: Mapping[str, str]) -> None:
    """Lines on stdout, each behind its label, in groups; none is wrapped: what is in them can be copied."""
    from rich.text import Text

    width = max(len(label) for group in groups for label in group) + 2
    for group in groups:
        print()
        for label, text in group.items():
            console(sys.stdout).print(Text.assemble((f"{label:<{width}}", "dim"), text), soft_wrap=True)


def print_page(blocks: Iterable["RenderableType"]) -> None:
    """Blocks on stdout with an empty line between them, no wider than is good to read."""
    page = console(sys.stdout, width=PAGE_WIDTH)
    with page.capture() as capture:
        for block in blocks:
            page.print(block, crop=False)
            page.print()
    print("\n".join(line.rstrip() for line in capture.get().rstrip().split("\n")))


def print_table(columns: Sequence[str], rows: Sequence[Sequence["str | Text"]]) -> None:
    """A table on stdout. Off a terminal each row is one line."""
    if sys.stdout.isatty():
        console(sys.stdout).print(plain_table(columns, rows))
        return
    cells = [columns, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def plain_table(columns: Sequence[str], rows: Iterable[Sequence["str | Text"]]) -> "Table":
    """A table without lines; the first column is never wrapped. Without columns it has no head."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(columns), header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def console(stream: TextIO, *, width: int | None = None) -> "Console":
    """Draws on a stream, with colours on a terminal only; `width` limits it, the terminal's own is the default."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich would end the process, with exit code 1

    drawn = Plain(file=stream, highlight=False, markup=False)
    if width is not None:
        drawn.width = min(width, drawn.width) if stream.isatty() else width
    return drawn


def duration(seconds: float) -> str:
    """A time as a clock shows it, ``0:07`` or ``1:02:03``; empty if there is none to tell."""
    if not math.isfinite(seconds):
        return ""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def printable(text: str) -> str:
    """The text without control characters: sampled bytes must not steer the terminal that shows them."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def close_stdout() -> None:
    """Send what is left for stdout to nowhere, after its reader has gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
