"""Benchmarks from Python: what ``zoo bench`` and ``zoo bench model`` do, with the figures as an object."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from zoo.api.members import files_of, pattern_of, patterns_of, settings_of, threads_kept
from zoo.api.progress import Line, progress_line
from zoo.errors import UsageError
from zoo.lab.bench.listener import Listener
from zoo.lab.bench.models.request import KINDS as MODEL_KINDS
from zoo.lab.bench.models.request import ModelRequest
from zoo.lab.bench.models.result import ModelBench
from zoo.lab.bench.models.session import make_ready as make_models_ready
from zoo.lab.bench.models.session import run_bench as run_model_bench
from zoo.lab.bench.models.write import write_bench as write_model_bench
from zoo.lab.bench.request import KINDS, Request, read_kinds, read_lengths
from zoo.lab.bench.result import Asked, Bench, Cell, Measured
from zoo.lab.bench.session import make_ready, run_bench
from zoo.lab.bench.write import new_folder, write_bench
from zoo.pages.page import printable
from zoo.plugin.classes import Layers
from zoo.plugin.isolation import random_numbers_kept
from zoo.plugin.options import did_you_mean

_OF_LAYERS, _OF_MODELS = (
    tuple(field.name for field in fields(cls) if field.name not in {"patterns", "lengths", "kinds"})
    for cls in (Request, ModelRequest)
)

B = TypeVar("B", bound=Measured[Any])


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
    _check_options(options, _OF_LAYERS)
    with _session(patterns) as written:
        request = Request(
            patterns=written,
            lengths=read_lengths(",".join(map(str, lengths))),
            kinds=_read_kinds(kinds, tuple(KINDS)),
            **settings_of(options),
        )
        return _measure(request, partial(run_bench, make_ready(request)), write_bench, out, progress=progress)


def bench_model(
    patterns: Sequence[Layers],
    *,
    kinds: str | Sequence[str] = tuple(MODEL_KINDS),
    out: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> ModelBench:
    """Measure what whole models cost, and how much of the machine they use, as ``zoo bench model`` does.

    Args:
        patterns: of token mixers, or classes; the dot-product model and a plain model like GPT-2 are measured beside
            them.
        kinds: of cost: ``"train"``, ``"evaluation"``, ``"prefill"``, ``"decode"``.
        out: a new folder for tables, plots and ``report.html``; None writes nothing.
        progress: show how far it is, in a notebook or on a terminal.
        options: of `zoo.lab.bench.models.request.ModelRequest`: ``layers``, ``dim``, ``heads``, ``context``, ``batch``,
            ``vocab_size``, ``device``, ``precision``, ``compile``, ``threads``, ``repeats``, ``seed``.

    Returns:
        Its ``cells`` hold the figures, ``cell(kind, name)`` gives one; ``str`` of it is the tables, and a notebook
        shows them with the pictures. One that was interrupted has what was measured until then, and is not
        ``complete``.

    Raises:
        UsageError: a mistake in any pattern or option, before anything is measured.
    """
    _check_options(options, _OF_MODELS)
    with _session(patterns) as written:
        kinds = _read_kinds(kinds, tuple(MODEL_KINDS))
        request = ModelRequest(patterns=written, kinds=kinds, **settings_of(options))
        measure = partial(run_model_bench, make_models_ready(request))
        return _measure(request, measure, write_model_bench, out, progress=progress)


def _check_options(options: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in options:
        if name not in known:
            raise UsageError(f"there is no option {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")


def _read_kinds(kinds: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    return read_kinds(kinds if isinstance(kinds, str) else ",".join(kinds), known)


@contextmanager
def _session(patterns: Sequence[Layers]) -> Iterator[tuple[str, ...]]:
    """The patterns as they are written; random numbers and threads are as before at the end."""
    given = patterns_of(patterns)
    with files_of(given), random_numbers_kept(), threads_kept():
        yield tuple(pattern_of(pattern) for pattern in given)


def _measure(
    request: Asked,
    measure: Callable[[Listener], B],
    write: Callable[[B, Path], None],
    out: str | Path | None,
    *,
    progress: bool,
) -> B:
    folder = None if out is None else new_folder(request, root=Path(out).parent, out=Path(out))
    with progress_line(progress) as line:
        line.show("measuring what the machine can do")
        measured = measure(_BenchLine(line))
    if folder is not None:
        write(measured, folder)
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
