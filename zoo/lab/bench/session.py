"""A bench from the request to the figures."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from zoo.errors import UsageError
from zoo.lab.bench.candidates import Candidate, build_candidates
from zoo.lab.bench.listener import Listener, Stopped
from zoo.lab.bench.machine import Peaks, measure_peaks, prepare
from zoo.lab.bench.request import Request
from zoo.lab.bench.result import Bench, Cell, Measured
from zoo.lab.bench.table import Table
from zoo.lab.bench.work import Work, prepare_work
from zoo.model.build import check_pattern
from zoo.model.watch import watch_stream
from zoo.train.not_finite import explain_writes

MAX_SPREAD = 0.3
"""How far apart the quartiles of a cell may be, as a fraction of its median, before a reader is warned."""


@dataclass(frozen=True)
class Start:
    """All that a bench needs, before anything is measured.

    Attributes:
        request: with what the machine has in place of ``auto`` and None.
        device: where it runs.
        candidates: plain attention first.
        unbuilt: why the other patterns could not be built.
    """

    request: Request
    device: torch.device
    candidates: Sequence[Candidate]
    unbuilt: dict[str, str]


def make_ready(request: Request) -> Start:
    """Set the machine up and build the candidates.

    Raises:
        UsageError: a mistake in any of the patterns, none of them can be built, or the device is not there.
    """
    for pattern in request.patterns:
        check_pattern(pattern, channel_mixer="none", residual=request.residual)
    resolved, device = prepare(request)
    return Start(resolved, device, *build_candidates(resolved, device))


def run_bench(start: Start, listener: Listener | None = None) -> Bench:
    """Measure what was asked for.

    Returns:
        The bench; if it was stopped, with what was measured until then, and not ``complete``.
    """
    began, listener, request = time.monotonic(), listener or Listener(), start.request
    described = [_describe(candidate, request.lengths[-1]) for candidate in start.candidates]
    bench = Bench(request, measure_peaks(start.device, request.precision), described, dict(start.unbuilt))
    bench.notes += filter(None, (_note_not_finite(candidate, start) for candidate in start.candidates))
    listener.start(_turns(request, len(start.candidates)))
    candidates = {candidate.name: candidate for candidate in start.candidates}
    with measuring(bench):
        for kind in request.kinds:
            prepare = partial(_prepare, kind, start)
            table = Table(kind, request.lengths, candidates, prepare, start.device, bench, listener)
            if kind == "memory":
                table.measure_memory()
            else:
                table.measure_time()
                bench.peaks = bench.peaks.best(measure_peaks(start.device, request.precision))
    bench.seconds = time.monotonic() - began
    return bench


@contextmanager
def measuring(bench: Measured[Any]) -> Iterator[None]:
    """Measure within the block; at its end, or where it is stopped, the bench says what is to be known of its cells."""
    try:
        yield
        bench.complete = True
    except (Stopped, KeyboardInterrupt):
        bench.notes.append("It was interrupted: this is what was measured until then.")
    if bench.widest is not None and bench.widest.spread > MAX_SPREAD:
        bench.notes.append("Repeats differ widely: something else kept the machine busy, so trust no small difference.")
    bench.cells = [_bounded(cell, bench.peaks) for cell in bench.cells]


def _prepare(kind: str, start: Start, candidate: Candidate, length: int) -> Work:
    return prepare_work(kind, candidate, length, start.request, start.device)


def _describe(candidate: Candidate, length: int) -> dict[str, object]:
    """What there is to tell of a candidate at that length, or as it was built where it takes fewer tokens."""
    with suppress(UsageError, MemoryError, RuntimeError):  # its cells say why
        candidate = candidate.for_length(length)
    return candidate.describe()


def _note_not_finite(candidate: Candidate, start: Start) -> str | None:
    """What a reader should know of a candidate that computes with numbers that are not finite."""
    work = partial(prepare_work, "forward", candidate, start.request.lengths[0], start.request, start.device)
    with suppress(Exception), watch_stream(candidate) as log:  # its cells say what failed
        work().call()
        if cause := explain_writes(candidate, log):
            return f"{candidate.name}: {cause.text}. Its costs may not be those of finite numbers."
    return None


def _bounded(cell: Cell, peaks: Peaks) -> Cell:
    if cell.masked_flops is None or cell.bytes_moved is None:
        return cell
    return replace(cell, roofline_seconds=peaks.roofline_seconds(cell.masked_flops, cell.bytes_moved))


def _turns(request: Request, candidates: int) -> int:
    """Turns that a bench takes if nothing fails and nothing is slow."""
    turns = [1 if kind == "memory" else 2 + request.repeats for kind in request.kinds]
    return sum(turns) * len(request.lengths) * candidates
