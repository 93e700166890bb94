"""The cells of one kind of cost: each candidate is prepared, timed in turn with the others, and what fails is named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch

from zoo.errors import is_out_of_memory
from zoo.lab.bench.listener import Listener
from zoo.lab.bench.masked_flops import count_operations
from zoo.lab.bench.measure import Key, Timing, peak_bytes, time_in_turn
from zoo.lab.bench.result import Cell, Measured
from zoo.lab.bench.work import Work
from zoo.model.faults import describe_error

T = TypeVar("T")


@dataclass
class Table(Generic[T]):
    """The cells of one kind of cost, added to a bench as they are measured.

    Attributes:
        kind: of the request.
        lengths: tokens in a sequence, ascending.
        candidates: by name.
        prepare: gives what a cell is to run.
        device: where it runs.
        bench: gets the cells, and notes.
        listener: hears of them.
    """

    kind: str
    lengths: Sequence[int]
    candidates: Mapping[str, T]
    prepare: Callable[[T, int], Work]
    device: torch.device
    bench: Measured[Any]
    listener: Listener
    exhausted: dict[str, int] = field(default_factory=dict)
    """At which length a candidate ran out of memory; it is not tried at longer ones."""

    def measure_memory(self) -> None:
        """Measure the peak of each candidate at each length."""
        for length in self.lengths:
            for name in self.candidates:
                self._add(self._trying(name, length, self._peak))

    def measure_time(self) -> None:
        """Time each candidate at each length, in turn."""
        cells: dict[Key, Cell] = {}
        calls: dict[int, dict[str, Callable[[], object]]] = {}
        for length in self.lengths:
            for name in self.candidates:
                cell = self._trying(name, length, partial(self._prepared, calls.setdefault(length, {})))
                if cell.failure:
                    self._add(cell)
                else:
                    cells[length, name] = cell
        timings: dict[Key, Timing] = {}
        repeats, announce = self.bench.request.repeats, partial(self.listener.turn, self.kind)
        try:
            time_in_turn(calls, timings, repeats=repeats, device=self.device, announce=announce)
        finally:  # also when it is interrupted
            for key, timing in timings.items():
                self._add_timing(cells[key], timing)

    def _prepared(self, calls: dict[str, Callable[[], object]], name: str, length: int) -> Cell:
        work = self.prepare(self.candidates[name], length)
        flops, masked_flops = count_operations(work.counted or work.call)
        calls[name] = work.call
        return replace(
            self._cell(name, length, work), flops=flops, masked_flops=masked_flops, bytes_moved=work.bytes_moved
        )

    def _peak(self, name: str, length: int) -> Cell:
        work = self.prepare(self.candidates[name], length)
        work.call()  # what it builds at its first time, and keeps, is no part of the peak
        return replace(self._cell(name, length, work), peak=peak_bytes(work.call, self.device))

    def _cell(self, name: str, length: int, work: Work) -> Cell:
        return Cell(name, self.kind, length, tokens=work.tokens, state=work.state)

    def _trying(self, name: str, length: int, measure: Callable[[str, int], Cell]) -> Cell:
        """What `measure` gives, or a cell that says why it gives nothing."""
        if name in self.exhausted:
            reason = f"not tried, since it ran out of memory at {self.exhausted[name]:,}"
            return Cell(name, self.kind, length, failure=reason)
        self.listener.turn(self.kind, length, name)
        try:
            return measure(name, length)
        except Exception as error:
            return self._failed(name, length, error)

    def _failed(self, name: str, length: int, error: Exception) -> Cell:
        if is_out_of_memory(error):
            self.exhausted[name] = length
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return Cell(name, self.kind, length, failure=describe_error(error))

    def _add_timing(self, cell: Cell, timing: Timing) -> None:
        if timing.error is not None:
            self._add(self._failed(cell.candidate, cell.length, timing.error))
        elif timing.seconds:
            self._add(replace(cell, seconds=tuple(timing.seconds), calls=timing.calls))
        if 0 < timing.repeats < self.bench.request.repeats:
            self.bench.notes.append(
                f"{cell.candidate}, {self.kind} at {cell.length:,}: a call takes {timing.estimate:.1f} s, "
                f"so it was repeated {timing.repeats} times."
            )

    def _add(self, cell: Cell) -> None:
        self.bench.cells.append(cell)
        self.listener.done(cell)
