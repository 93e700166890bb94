"""A bench from the request to the figures."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from zoo.errors import UsageError, is_out_of_memory
from zoo.lab.bench.candidates import Candidate, build_candidates
from zoo.lab.bench.machine import Peaks, measure_peaks, prepare
from zoo.lab.bench.masked_flops import count_operations
from zoo.lab.bench.measure import Key, Timing, peak_bytes, time_in_turn
from zoo.lab.bench.request import Request
from zoo.lab.bench.result import Bench, Cell
from zoo.lab.bench.work import Work, prepare_work
from zoo.model.build import check_pattern
from zoo.model.faults import describe_error
from zoo.model.watch import watch_stream
from zoo.train.not_finite import explain_writes

MAX_SPREAD = 0.3
"""How far apart the quartiles of a cell may be, as a fraction of its median, before a reader is warned."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """The user had enough. A `Listener` raises it."""


class Listener:
    """Whoever looks on while a bench is made. This one is silent; a subclass shows what it likes."""

    def start(self, turns: int) -> None:
        """So many turns are to come, or a few less."""

    def turn(self, kind: str, length: int, name: str) -> None:
        """A candidate is about to run. `Stopped` or KeyboardInterrupt, raised here, end the bench."""

    def done(self, cell: Cell) -> None:
        """A cell is measured, or failed."""


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
    try:
        for kind in request.kinds:
            table = _Table(kind, bench, start, listener)
            if kind == "memory":
                table.measure_memory()
            else:
                table.measure_time()
                bench.peaks = bench.peaks.best(measure_peaks(start.device, request.precision))
        bench.complete = True
    except (Stopped, KeyboardInterrupt):
        bench.notes.append("It was interrupted: this is what was measured until then.")
    if bench.widest is not None and bench.widest.spread > MAX_SPREAD:
        bench.notes.append("Repeats differ widely: something else kept the machine busy, so trust no small difference.")
    bench.cells = [_bounded(cell, bench.peaks) for cell in bench.cells]
    bench.seconds = time.monotonic() - began
    return bench


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


@dataclass
class _Table:
    """The cells of one kind of cost."""

    kind: str
    bench: Bench
    start: Start
    listener: Listener
    exhausted: dict[str, int] = field(default_factory=dict)
    """At which length a candidate ran out of memory; it is not tried at longer ones."""

    def measure_memory(self) -> None:
        for length in self.start.request.lengths:
            for candidate in self.start.candidates:
                self._add(self._trying(candidate, length, self._peak))

    def measure_time(self) -> None:
        cells: dict[Key, Cell] = {}
        calls: dict[int, dict[str, Callable[[], object]]] = {}
        for length in self.start.request.lengths:
            for candidate in self.start.candidates:
                cell = self._trying(candidate, length, partial(self._prepared, calls.setdefault(length, {})))
                if cell.failure:
                    self._add(cell)
                else:
                    cells[length, candidate.name] = cell
        timings: dict[Key, Timing] = {}
        repeats, announce = self.start.request.repeats, partial(self.listener.turn, self.kind)
        try:
            time_in_turn(calls, timings, repeats=repeats, device=self.start.device, announce=announce)
        finally:  # also when it is interrupted
            for key, timing in timings.items():
                self._add_timing(cells[key], timing)

    def _prepared(self, calls: dict[str, Callable[[], object]], candidate: Candidate, length: int) -> Cell:
        work = self._work(candidate, length)
        flops, masked_flops = count_operations(work.call)
        calls[candidate.name] = work.call
        return replace(
            self._cell(candidate, length, work), flops=flops, masked_flops=masked_flops, bytes_moved=work.bytes_moved
        )

    def _peak(self, candidate: Candidate, length: int) -> Cell:
        work = self._work(candidate, length)
        work.call()  # what it builds at its first time, and keeps, is no part of the peak
        return replace(self._cell(candidate, length, work), peak=peak_bytes(work.call, self.start.device))

    def _work(self, candidate: Candidate, length: int) -> Work:
        return prepare_work(self.kind, candidate, length, self.start.request, self.start.device)

    def _cell(self, candidate: Candidate, length: int, work: Work) -> Cell:
        return Cell(candidate.name, self.kind, length, tokens=work.tokens, state=work.state)

    def _trying(self, candidate: Candidate, length: int, measure: Callable[[Candidate, int], Cell]) -> Cell:
        """What `measure` gives, or a cell that says why it gives nothing."""
        name = candidate.name
        if name in self.exhausted:
            reason = f"not tried, since it ran out of memory at {self.exhausted[name]:,}"
            return Cell(name, self.kind, length, failure=reason)
        self.listener.turn(self.kind, length, name)
        try:
            return measure(candidate, length)
        except Exception as error:
            return self._failed(name, length, error)

    def _failed(self, name: str, length: int, error: Exception) -> Cell:
        if is_out_of_memory(error):
            self.exhausted[name] = length
            if self.start.device.type == "cuda":
                torch.cuda.empty_cache()
        return Cell(name, self.kind, length, failure=describe_error(error))

    def _add_timing(self, cell: Cell, timing: Timing) -> None:
        if timing.error is not None:
            self._add(self._failed(cell.candidate, cell.length, timing.error))
        elif timing.seconds:
            self._add(replace(cell, seconds=tuple(timing.seconds), calls=timing.calls))
        if 0 < timing.repeats < self.start.request.repeats:
            self.bench.notes.append(
                f"{cell.candidate}, {self.kind} at {cell.length:,}: a call takes {timing.estimate:.1f} s, "
                f"so it was repeated {timing.repeats} times."
            )

    def _add(self, cell: Cell) -> None:
        self.bench.cells.append(cell)
        self.listener.done(cell)


def _turns(request: Request, candidates: int) -> int:
    """Turns that a bench takes if nothing fails and nothing is slow."""
    turns = [1 if kind == "memory" else 2 + request.repeats for kind in request.kinds]
    return sum(turns) * len(request.lengths) * candidates
