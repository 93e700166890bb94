"""The figures of whole models as a page of text, no wider than a hundred columns."""

from collections.abc import Iterator

from zoo.lab.bench.format import NOTHING, number, percent, rate
from zoo.lab.bench.models.candidates import GPT2
from zoo.lab.bench.models.request import KINDS
from zoo.lab.bench.models.result import ModelBench, flops_per_second, intensity
from zoo.lab.bench.result import Cell, failures
from zoo.lab.bench.summary import lay_out, spread

HEADER = ["ms", "tokens/s", "x dot-product", "MFLOP", "MB", "FLOP/byte", "GFLOP/s", "utilisation", "bound"]
"""What stands above the columns of `row`."""

LEGEND = {
    "x dot-product": "the time over that of the dot-product model",
    "MFLOP, MB": "operations of a call as they are usually counted, and bytes that it must move at least",
    "utilisation": "the least time of the operations or of the bytes (bound) on this machine, over the time",
    GPT2: "a plain torch model like GPT-2 of this size, written for this bench",
}
"""What the columns and the baseline mean."""


def summary(bench: ModelBench) -> str:
    """A block for each kind of cost, and notes."""
    blocks = ["\n".join(_block(bench, kind)) for kind in bench.kinds]
    return "\n\n".join([*blocks, "\n".join(_closing(bench))])


def caption(bench: ModelBench, kind: str) -> str:
    """How much a call of that kind takes in."""
    sequences = f"{bench.request.batch:,} sequence{'s' * (bench.request.batch > 1)}"
    return f"{sequences} {'after' if kind == 'decode' else 'of'} {bench.request.length(kind):,} tokens"


def row(bench: ModelBench, kind: str, name: str) -> list[str]:
    """The figures of a candidate."""
    cell = bench.cell(kind, name)
    return [NOTHING] * len(HEADER) if cell is None else _figures(bench, cell)


def _figures(bench: ModelBench, cell: Cell) -> list[str]:
    speed = flops_per_second(cell)
    return [
        number(None if cell.cost is None else 1e3 * cell.cost),
        number(cell.tokens_per_second),
        number(bench.ratio(cell)),
        number(None if cell.flops is None else cell.flops / 1e6),
        number(None if cell.bytes_moved is None else cell.bytes_moved / 1e6),
        number(intensity(cell)),
        number(None if speed is None else speed / 1e9),
        percent(cell.roofline_fraction),
        bench.bound(cell) or NOTHING,
    ]


def _block(bench: ModelBench, kind: str) -> Iterator[str]:
    yield f"{kind}: {KINDS[kind]}; {caption(bench, kind)}"
    yield from lay_out([("", HEADER), *((name, row(bench, kind, name)) for name in bench.names)])


def _closing(bench: ModelBench) -> Iterator[str]:
    yield from (f"failed: {line}" for line in failures(bench))
    yield from (f"note: {note}" for note in bench.notes)
    for name, meaning in LEGEND.items():
        yield f"{name}: {meaning}"
    flops, moved = rate(bench.peaks.flops, "FLOP"), rate(bench.peaks.bandwidths[-1][1], "B")
    yield f"machine: {flops} in {bench.request.precision} matrix products, {moved} from memory beyond the caches"
    yield f"times: {spread(bench)}"
