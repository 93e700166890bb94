"""The figures as a page of text, no wider than a hundred columns."""

from collections.abc import Iterator, Sequence
from typing import Any

from zoo.lab.bench.format import UNITS, cost_text, number, percent, powers, rate
from zoo.lab.bench.request import KINDS
from zoo.lab.bench.result import Bench, Cell, Measured, failures

LEGEND = {
    "~": "how the cost grows with the tokens t; upper: the same over the upper half of the lengths",
    "x sdpa": "the cost over that of as many layers of plain attention, at the longest length",
    "roofline": "the fraction of what the machine can do that was reached there",
}
"""What the columns mean."""

MAX_LENGTHS = 6
"""Lengths that fit beside each other; of more the table shows some, and the files all."""

WIDTH = 100
"""Columns of a line. A name that does not fit beside its figures has a line to itself."""


def summary(bench: Bench) -> str:
    """A block for each kind of cost, and notes."""
    blocks = ["\n".join(_block(bench, kind)) for kind in bench.kinds]
    return "\n\n".join([*blocks, "\n".join(_closing(bench))])


def some_lengths(lengths: Sequence[int]) -> list[int]:
    """The lengths that a table shows: all, or six of them with the shortest and the longest."""
    if len(lengths) <= MAX_LENGTHS:
        return list(lengths)
    return [lengths[round(i * (len(lengths) - 1) / (MAX_LENGTHS - 1))] for i in range(MAX_LENGTHS)]


def _block(bench: Bench, kind: str) -> Iterator[str]:
    yield f"{kind}: {KINDS[kind]}; {UNITS[kind]}, at so many tokens"
    lengths = some_lengths(bench.request.lengths)
    rows = [(name, row(bench, kind, name, lengths)) for name in bench.names]
    table = [("", header(kind, lengths)), *rows]
    yield from lay_out(table)


def lay_out(table: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Rows of cells, each with its name, as lines: in columns, and no wider than `WIDTH`."""
    widths = [max(len(cells[column]) for _, cells in table) for column in range(len(table[0][1]))]
    names = max(len(name) for name, _ in table)
    beside = min(names, max(0, WIDTH - sum(width + 2 for width in widths)))
    for name, cells in table:
        if len(name) > beside:
            yield name
        yield f"{name if len(name) <= beside else '':<{beside}}" + "".join(
            f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
        )


def header(kind: str, lengths: Sequence[int]) -> list[str]:
    """What stands above the columns of `row`."""
    last = ["state ~"] if kind == "decode" else [] if kind == "memory" else ["roofline"]
    growing = "memory ~" if kind == "memory" else "time ~"
    return [*(f"{length:,}" for length in lengths), growing, "upper", "x sdpa", *last]


def row(bench: Bench, kind: str, name: str, lengths: Sequence[int]) -> list[str]:
    """The figures of a candidate: its cost at each length, how it grows, and how it compares."""
    cells = {cell.length: cell for cell in bench.row(kind, name)}
    longest = max((cell for cell in cells.values() if cell.cost is not None), key=_length, default=None)
    ratio = number(bench.ratio(longest) if longest else None)
    if kind == "decode":
        last = [powers(bench.growth(kind, name, of_state=True))[0]]
    else:
        last = [] if kind == "memory" else [percent(longest.roofline_fraction if longest else None)]
    growth = powers(bench.growth(kind, name))
    return [*(cost_text(cells.get(length)) for length in lengths), *growth, ratio, *last]


def _length(cell: Cell) -> int:
    return cell.length


def _closing(bench: Bench) -> Iterator[str]:
    yield from (f"failed: {line}" for line in failures(bench))
    yield from (f"note: {note}" for note in bench.notes)
    for name, meaning in LEGEND.items():
        yield f"{name}: {meaning}"
    flops, copies = rate(bench.peaks.flops, "FLOP"), rate(bench.peaks.bandwidths[-1][1], "B")
    yield f"machine: {flops} in {bench.request.precision} matrix products, {copies} in copies beyond the caches"
    yield f"times: {spread(bench)}"


def spread(bench: Measured[Any]) -> str:
    """How sure the times are, in a line."""
    widest = bench.widest
    if widest is None:
        return "none was measured"
    if bench.request.repeats < 2:
        return "one repeat, so that nothing is known of their spread"
    where = f"{widest.candidate}, {widest.kind} at {widest.length:,}"
    return f"medians, whose quartiles are at most {percent(widest.spread)} apart ({where})"
