"""A benchmark from Python: what ``zoo bench`` does, with the figures as an object."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from zoo.api.members import files_of, pattern_of, patterns_of, settings_of, threads_kept
from zoo.api.progress import Line, progress_line
from zoo.errors import UsageError
from zoo.lab.bench.request import KINDS, Request, read_kinds, read_lengths
from zoo.lab.bench.result import Bench, Cell
from zoo.lab.bench.session import Listener, make_ready, run_bench
from zoo.lab.bench.write import new_folder, write_bench
from zoo.pages.page import printable
from zoo.plugin.classes import Layers
from zoo.plugin.isolation import random_numbers_kept
from zoo.plugin.options import did_you_mean

_OPTIONS = tuple(field.name for field in fields(Request) if field.name not in {"patterns", "lengths", "kinds"})


def bench(
    patterns: Sequence[Layers],
    *,
    lengths: Sequence[int] = (256, 1024, 4096),
    kinds: str | Sequence[str] = tuple(KINDS),
    out: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Bench:
    """Measure what mixers cost as a function of length, as ``zoo bench`` does.

    Args:
        patterns: of token mixers, or classes; plain attention is measured beside them.
        lengths: tokens in a sequence.
        kinds: of cost: ``"forward"``, ``"train"``, ``"prefill"``, ``"decode"``, ``"memory"``.
        out: a new folder for tables, plots and ``report.html``; None writes nothing.
        progress: show how far it is, in a notebook or on a terminal.
        options: of `zoo.lab.bench.request.Request`: ``dim``, ``heads``, ``residual``, ``batch``, ``device``,
            ``precision``, ``threads``, ``repeats``, ``seed``.

    Returns:
        Its ``cells`` hold the figures; ``str`` of it is the tables, and a notebook shows them with the pictures. One
        that was interrupted has what was measured until then, and is not ``complete``.

    Raises:
        UsageError: a mistake in any pattern or option, before anything is measured.
    """
    for name in options:
        if name not in _OPTIONS:
            raise UsageError(
                f"there is no option {name!r}{did_you_mean(name, _OPTIONS)}; there are: {', '.join(_OPTIONS)}"
            )
    given, named = patterns_of(patterns), settings_of(options)
    with files_of(given), random_numbers_kept(), threads_kept():
        written = tuple(pattern_of(pattern) for pattern in given)
        request = Request(
            patterns=written,
            lengths=read_lengths(",".join(map(str, lengths))),
            kinds=read_kinds(kinds if isinstance(kinds, str) else ",".join(kinds)),
            **named,
        )
        start = make_ready(request)
        folder = None if out is None else new_folder(request, root=Path(out).parent, out=Path(out))
        with progress_line(progress) as line:
            line.show("measuring what the machine can do")
            measured = run_bench(start, _BenchLine(line))
        if folder is not None:
            write_bench(measured, folder)
    return measured


class _BenchLine(Listener):
    """A benchmark in a line."""

    def __init__(self, line: Line) -> None:
        self._line, self._turns, self._turn = line, 1, 0

    def start(self, turns: int) -> None:
        """Keep how much there is to do."""
        self._turns = max(1, turns)

    def turn(self, kind: str, length: int, name: str) -> None:
        """Show what is about to run."""
        self._line.show(f"{kind} at {length:,} tokens: {printable(name)}", self._turn, self._turns)
        self._turn += 1

    def done(self, cell: Cell) -> None:
        """Say what failed."""
        if cell.failure:
            self._line.notice(f"{cell.candidate}, {cell.kind} at {cell.length:,}: {cell.failure}")
