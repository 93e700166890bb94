"""A bench from the request to the figures."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from zoo.errors import is_out_of_memory
from zoo.lab.bench.contestants import Contestant, build_contestants, one_line
from zoo.lab.bench.machine import Peaks, measure_peaks, prepare
from zoo.lab.bench.measure import Timing, time_in_turn
from zoo.lab.bench.memory import peak_bytes
from zoo.lab.bench.needed import count_operations
from zoo.lab.bench.request import Request
from zoo.lab.bench.result import Bench, Cell
from zoo.lab.bench.work import Work, prepare_work

OUT_OF_MEMORY = one_line(MemoryError())
"""What is told of a cell that needs more memory than there is."""

RESTLESS = 0.3
"""How far apart the quartiles of a cell may be, as a fraction of its median, before a reader is warned."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """The user had enough. A `Watcher` raises it."""


class Watcher:
    """Whoever looks on while a bench is made. This one is silent; a subclass shows what it likes."""

    def begin(self, cells: int) -> None:
        """So many cells are to be measured."""

    def turn(self, kind: str, length: int, name: str) -> None:
        """A contestant is about to run. `Stopped` or KeyboardInterrupt, raised here, end the bench."""

    def done(self, cell: Cell) -> None:
        """A cell is measured, or failed."""


@dataclass(frozen=True)
class Start:
    """All that a bench needs, before anything is measured.

    Attributes:
        request: with what the machine has in place of ``auto`` and None.
        device: where it runs.
        contestants: plain attention first.
        unbuilt: why the other patterns could not be built.
    """

    request: Request
    device: torch.device
    contestants: Sequence[Contestant]
    unbuilt: dict[str, str]


def make_ready(request: Request) -> Start:
    """Set the machine up and build the contestants.

    Raises:
        UsageError: none of the patterns can be built, or the device is not there.
    """
    settled, device = prepare(request)
    return Start(settled, device, *build_contestants(settled, device))


def run_bench(start: Start, watcher: Watcher | None = None) -> Bench:
    """Measure what was asked for.

    Returns:
        The bench; if it was stopped, with what was measured until then, and not ``complete``.
    """
    began, watcher, request = time.monotonic(), watcher or Watcher(), start.request
    described = [contestant.describe() for contestant in start.contestants]
    bench = Bench(request, measure_peaks(start.device, request.precision), described, dict(start.unbuilt))
    watcher.begin(len(request.kinds) * len(request.lengths) * len(start.contestants))
    try:
        for kind in request.kinds:
            _measure(kind, bench, start, watcher)
            if kind != "memory":
                bench.peaks = bench.peaks.best(measure_peaks(start.device, request.precision))
        bench.complete = True
    except (Stopped, KeyboardInterrupt):
        bench.notes.append("It was interrupted: this is what was measured until then.")
    if bench.widest is not None and bench.widest.spread > RESTLESS:
        bench.notes.append("Repeats differ widely: something else kept the machine busy, so trust no small difference.")
    bench.cells = [_bounded(cell, bench.peaks) for cell in bench.cells]
    bench.seconds = time.monotonic() - began
    return bench


def _bounded(cell: Cell, peaks: Peaks) -> Cell:
    if cell.needed is None or cell.moved is None:
        return cell
    return replace(cell, bound=peaks.bound(cell.needed, cell.moved))


def _measure(kind: str, bench: Bench, start: Start, watcher: Watcher) -> None:
    """Length by length, the contestants of a length in turn. What ran out of memory takes part no more."""
    exhausted: dict[str, Cell] = {}
    for length in start.request.lengths:
        row = _Row(kind, length, bench, start, watcher)
        for contestant in start.contestants:
            if contestant.name in exhausted:
                row.add(Cell(contestant.name, kind, length, failure=_too_much(exhausted[contestant.name])))
        running = [contestant for contestant in start.contestants if contestant.name not in exhausted]
        row.measure_memory(running) if kind == "memory" else row.measure_time(running)
        exhausted |= {cell.contestant: cell for cell in row.cells if cell.failure == OUT_OF_MEMORY}


def _too_much(cell: Cell) -> str:
    return f"not tried, since it ran out of memory at {cell.length:,}"


@dataclass
class _Row:
    """The cells of one kind and length."""

    kind: str
    length: int
    bench: Bench
    start: Start
    watcher: Watcher
    cells: list[Cell] = field(default_factory=list)

    def add(self, cell: Cell) -> None:
        self.cells.append(cell)
        self.bench.cells.append(cell)
        self.watcher.done(cell)

    def measure_memory(self, contestants: Sequence[Contestant]) -> None:
        for contestant in contestants:
            self._tell(contestant.name)
            self.add(self._trying(contestant.name, partial(self._peak, contestant)))

    def measure_time(self, contestants: Sequence[Contestant]) -> None:
        prepared: dict[str, tuple[Cell, Callable[[], object]]] = {}
        for contestant in contestants:
            self._tell(contestant.name)
            ready = self._trying(contestant.name, partial(self._prepared, contestant, prepared))
            if ready.failure:
                self.add(ready)
        calls, timings = {name: call for name, (_, call) in prepared.items()}, dict[str, Timing]()
        request, device = self.start.request, self.start.device
        try:
            time_in_turn(calls, timings, repeats=request.repeats, device=device, told=self._tell)
        finally:  # also when somebody stops it
            for name, timing in timings.items():
                self._add_timing(prepared[name][0], timing)

    def _prepared(self, contestant: Contestant, prepared: dict[str, tuple[Cell, Callable[[], object]]]) -> Cell:
        work = self._work(contestant)
        flops, needed = count_operations(work.call)
        cell = replace(self._cell(contestant.name, work), flops=flops, needed=needed, moved=work.moved)
        prepared[contestant.name] = cell, work.call
        return cell

    def _peak(self, contestant: Contestant) -> Cell:
        work = self._work(contestant)
        work.call()  # what it builds at its first time, and keeps, is no part of the peak
        return replace(self._cell(contestant.name, work), peak=peak_bytes(work.call, self.start.device))

    def _work(self, contestant: Contestant) -> Work:
        return prepare_work(self.kind, contestant, self.length, self.start.request, self.start.device)

    def _cell(self, name: str, work: Work) -> Cell:
        return Cell(name, self.kind, self.length, tokens=work.tokens, state=work.state)

    def _trying(self, name: str, measure: Callable[[], Cell]) -> Cell:
        try:
            return measure()
        except Exception as error:
            return self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> Cell:
        if is_out_of_memory(error) and self.start.device.type == "cuda":
            torch.cuda.empty_cache()
        return Cell(name, self.kind, self.length, failure=one_line(error))

    def _add_timing(self, cell: Cell, timing: Timing) -> None:
        if timing.error is not None:
            self.add(self._failed(cell.contestant, timing.error))
        elif timing.seconds:
            self.add(replace(cell, seconds=tuple(timing.seconds), calls=timing.calls))
        if 0 < timing.repeats < self.start.request.repeats:
            self.bench.notes.append(
                f"{cell.contestant}, {self.kind} at {self.length:,}: a call takes {timing.estimate:.1f} s, "
                f"so it was repeated {timing.repeats} times."
            )

    def _tell(self, name: str) -> None:
        self.watcher.turn(self.kind, self.length, name)
