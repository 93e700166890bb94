"""The figures as a page of text, no wider than a hundred columns."""

from collections.abc import Iterator, Sequence

from zoo.lab.bench.request import KINDS
from zoo.lab.bench.result import Bench, Cell, failures
from zoo.lab.bench.words import UNITS, cost_text, number, percent, powers, rate

MOST_LENGTHS = 6
"""Lengths that fit beside each other; of more the table shows some, and the files all."""

_NAME = 24
"""Columns of a name; a longer one has a line to itself."""


def summary(bench: Bench) -> str:
    """A block for each kind of cost, and what a reader should know of it."""
    blocks = ["\n".join(_block(bench, kind)) for kind in bench.kinds]
    return "\n\n".join([*blocks, "\n".join(_closing(bench))])


def some_lengths(lengths: Sequence[int]) -> list[int]:
    """The lengths that a table shows: all, or six of them with the shortest and the longest."""
    if len(lengths) <= MOST_LENGTHS:
        return list(lengths)
    return [lengths[round(i * (len(lengths) - 1) / (MOST_LENGTHS - 1))] for i in range(MOST_LENGTHS)]


def _block(bench: Bench, kind: str) -> Iterator[str]:
    yield f"{kind}: {UNITS[kind]} ({KINDS[kind]}), by tokens"
    lengths = some_lengths(bench.request.lengths)
    rows = [(name, _row(bench, kind, name, lengths)) for name in bench.names]
    table = [("", _header(kind, lengths)), *rows]
    widths = [max(len(cells[column]) for _, cells in table) for column in range(len(rows[0][1]))]
    for name, cells in table:
        if len(name) > _NAME:
            yield name
            name = ""
        yield f"{name:<{_NAME}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _header(kind: str, lengths: Sequence[int]) -> list[str]:
    last = ["state ~"] if kind == "decode" else [] if kind == "memory" else ["bound"]
    return [*(f"{length:,}" for length in lengths), "~", "upper", "x sdpa", *last]


def _row(bench: Bench, kind: str, name: str, lengths: Sequence[int]) -> list[str]:
    cells = {cell.length: cell for cell in bench.row(kind, name)}
    longest = max((cell for cell in cells.values() if cell.cost is not None), key=_length, default=None)
    ratio = number(bench.ratio(longest) if longest else None)
    if kind == "decode":
        last = [powers(bench.growth(kind, name, of_state=True))[0]]
    else:
        last = [] if kind == "memory" else [percent(longest.reached if longest else None)]
    growth = powers(bench.growth(kind, name))
    return [*(cost_text(cells.get(length)) for length in lengths), *growth, ratio, *last]


def _length(cell: Cell) -> int:
    return cell.length


def _closing(bench: Bench) -> Iterator[str]:
    for line in failures(bench):
        yield f"failed: {line}"
    for note in bench.notes:
        yield f"note: {note}"
    timed = [cell for cell in bench.cells if cell.seconds]
    yield "~ is how the cost grows with the tokens t, upper the same over the upper half of the lengths."
    yield "x sdpa is the cost over that of as many layers of plain attention, at the longest length;"
    yield "bound is how much of what the machine could do was reached there."
    yield f"The machine: {rate(bench.peaks.flops, 'FLOP')} in {bench.request.precision} matrix products, " + (
        f"copies of {rate(bench.peaks.bandwidths[-1][1], 'B')} from memory."
    )
    if timed:
        widest = max(timed, key=lambda cell: cell.spread)
        yield f"Times are medians; quartiles lie at most {percent(widest.spread)} apart " + (
            f"({widest.contestant}, {widest.kind} at {widest.length:,})."
        )
