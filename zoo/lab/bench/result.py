"""The results of a benchmark: cells, and figures made of them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from zoo.errors import UsageError
from zoo.lab.bench.candidates import PLAIN
from zoo.lab.bench.machine import Peaks
from zoo.lab.bench.request import Request
from zoo.pages.picture import Picture

MIN_LENGTHS = 3
"""Lengths that it takes to speak of growth."""


@dataclass(frozen=True)
class Cell:
    """What one candidate costs at one length.

    Attributes:
        candidate: its name.
        kind: what was measured, of `KINDS`.
        length: tokens in a sequence.
        tokens: that a call takes in, all sequences together.
        seconds: of one call, in each repeat; none where memory was measured.
        calls: that each repeat is the mean of.
        peak: bytes, where memory was measured.
        state: bytes of the state that decoding starts from, or that a prompt leaves.
        flops: floating-point operations of a call, as they are usually counted.
        masked_flops: the same without those of scores that a causal mask hides.
        bytes_moved: bytes that a call must move at least.
        roofline_seconds: what a call takes at least on this machine.
        failure: why there are no figures, in a line.
    """

    candidate: str
    kind: str
    length: int
    tokens: int = 0
    seconds: tuple[float, ...] = ()
    calls: int = 0
    peak: int | None = None
    state: int | None = None
    flops: int | None = None
    masked_flops: int | None = None
    bytes_moved: int | None = None
    roofline_seconds: float | None = None
    failure: str | None = None

    @property
    def cost(self) -> float | None:
        """The median of the seconds, or the peak in bytes."""
        return statistics.median(self.seconds) if self.seconds else self.peak

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """Between which the middle half of the seconds lies."""
        if len(self.seconds) < 2:
            return (self.seconds[0], self.seconds[0]) if self.seconds else None
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """How far apart the quartiles are, as a fraction of the median."""
        return (self.quartiles[1] - self.quartiles[0]) / self.cost if self.quartiles and self.cost else 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of all sequences."""
        return self.tokens / self.cost if self.seconds and self.cost else None

    @property
    def roofline_fraction(self) -> float | None:
        """The fraction of what the machine can do: the least seconds over the measured ones."""
        return (
            self.roofline_seconds / self.cost
            if self.seconds and self.cost and self.roofline_seconds is not None
            else None
        )


@dataclass(frozen=True)
class Growth:
    """How a cost grows: the exponent over all lengths, and over the upper half of them; None where there is none."""

    exponent: float | None
    upper: float | None


class Asked(Protocol):
    """What is common to the requests of benches."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of the candidates, as the user wrote them."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What to measure."""

    @property
    def device(self) -> str:
        """Where it is measured."""

    @property
    def repeats(self) -> int:
        """Times that a cell is measured."""

    @property
    def command(self) -> str:
        """The command that asks the same."""


R_co = TypeVar("R_co", bound=Asked, covariant=True)


@dataclass(repr=False)
class Measured(Generic[R_co]):
    """What was measured of candidates, while it is made and when it has ended.

    Attributes:
        request: what was asked, with `auto` resolved.
        peaks: of the machine.
        candidates: those that were built, in order, the baseline first, each with its ``layers`` and parameters.
        unbuilt: why the others were not, by pattern.
        cells: in the order in which they were measured.
        notes: what a reader of the figures should know.
        complete: nothing was cut short.
        seconds: that all of it took.
    """

    request: R_co
    peaks: Peaks
    candidates: list[dict[str, Any]]
    unbuilt: dict[str, str]
    cells: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    seconds: float = 0.0

    @property
    def names(self) -> list[str]:
        """Of the candidates, in order."""
        return [candidate["name"] for candidate in self.candidates]

    @property
    def kinds(self) -> list[str]:
        """Of which there is a cell, in the order of the request."""
        return [kind for kind in self.request.kinds if any(cell.kind == kind for cell in self.cells)]

    @property
    def failed(self) -> bool:
        """Whether a candidate was not built, or a cell could not be measured."""
        return bool(self.unbuilt) or any(cell.failure for cell in self.cells)

    @property
    def widest(self) -> Cell | None:
        """The timed cell whose repeats agree least."""
        return max((cell for cell in self.cells if cell.seconds), key=lambda cell: cell.spread, default=None)

    def row(self, kind: str, name: str) -> list[Cell]:
        """The cells of one candidate, the shortest length first."""
        return sorted((c for c in self.cells if (c.kind, c.candidate) == (kind, name)), key=lambda cell: cell.length)


class Bench(Measured[Request]):
    """A bench of layers. ``str`` of it is its tables; a notebook shows them, too."""

    def plot(self, kind: str, *, titled: bool = True) -> Picture:
        """The picture of one kind of cost, with a title or without.

        Raises:
            UsageError: nothing of that kind was measured.
        """
        from zoo.lab.bench.plot import cost_figure  # which draws what is defined here

        if not any(cell.kind == kind and cell.cost is not None for cell in self.cells):
            raise UsageError(f"nothing was measured of {kind!r}; there are: {', '.join(self.kinds)}")
        return Picture(f"{kind} against the length", lambda: cost_figure(self, kind, titled=titled))

    def __str__(self) -> str:
        from zoo.lab.bench.summary import summary

        return summary(self)

    def __repr__(self) -> str:
        state = "" if self.complete else ", interrupted"
        return f"Bench({', '.join(self.names)}: {', '.join(self.kinds)}, {len(self.cells)} cells{state})"

    def _repr_html_(self) -> str:
        from zoo.lab.bench.report import render_bench

        return render_bench(self)

    def growth(self, kind: str, name: str, *, of_state: bool = False) -> Growth:
        """How the cost of a candidate grows, or the state that it decodes from."""
        pairs = [(cell.length, cell.state if of_state else cell.cost) for cell in self.row(kind, name)]
        known = [(length, cost) for length, cost in pairs if cost is not None]
        lengths, costs = [length for length, _ in known], [cost for _, cost in known]
        return Growth(exponent(lengths, costs), upper_exponent(lengths, costs))

    def ratio(self, cell: Cell) -> float | None:
        """The cost over that of as many layers of plain attention at the same length."""
        plain = next((c.cost for c in self.row(cell.kind, PLAIN) if c.length == cell.length), None)
        layers = next(c["layers"] for c in self.candidates if c["name"] == cell.candidate)
        return cell.cost / (layers * plain) if cell.cost is not None and plain else None


def failures(bench: Measured[Any]) -> list[str]:
    """A line for whatever failed: who, where and why; lengths that failed alike share one."""
    lines = [f"{name}: not built: {reason}" for name, reason in bench.unbuilt.items()]
    for kind in bench.kinds:
        for name in bench.names:
            reasons: dict[str, list[int]] = {}
            for cell in bench.row(kind, name):
                if cell.failure:
                    reasons.setdefault(cell.failure, []).append(cell.length)
            lines += [f"{name}, {kind} at {_listed(lengths)}: {reason}" for reason, lengths in reasons.items()]
    return lines


def _listed(lengths: Sequence[int]) -> str:
    return ", ".join(f"{length:,}" for length in lengths)


def exponent(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    """The p for which a cost grows as the p-th power of the length, by least squares on the logarithms.

    None with fewer than three lengths, and of a cost that is 0 somewhere.
    """
    return _slope(lengths, costs) if len(lengths) >= MIN_LENGTHS else None


def upper_exponent(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    """The same over the upper half of the lengths, the middle one with them: what is constant flattens short ones."""
    first = len(lengths) // 2
    return _slope(lengths[first:], costs[first:]) if len(lengths) >= MIN_LENGTHS else None


def _slope(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    if min(costs) <= 0:
        return None
    slope, _ = np.polyfit(np.log(lengths), np.log(costs), 1)
    return float(slope)
