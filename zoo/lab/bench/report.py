"""The page of a benchmark: one file, without scripts and without the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.files.atomic import write_atomically
from zoo.lab.bench.format import UNITS, cost_text, number, percent, rate, shown
from zoo.lab.bench.plot import plot_svg
from zoo.lab.bench.request import KINDS
from zoo.lab.bench.result import Bench, Cell, failures
from zoo.lab.bench.summary import LEGEND, header, row, some_lengths, spread
from zoo.pages.page import flat, markup, printable, render_fragment, render_page
from zoo.train.report import format_duration

_METHOD = {
    "what runs": "layers on a residual stream of random vectors, without embedding and unembedding, with all that the "
    "residual scheme does: of pre-norm a norm and an addition a layer, and a norm at the end; plain sdpa is one such "
    "layer around a projection, a fused causal attention, and a projection",
    "roofline": "the floating-point operations at the speed of the fastest matrix product, or "
    "the bytes of parameters, reads and writes (in decoding of parameters and state) at the speed of the fastest copy "
    "of so many, whichever takes longer; of causal attention only the scores that are not masked",
    "repeats": "how many there were, and of how many calls each is the mean",
    "memory": "bytes of tensors that are alive at once, those within kernels too; measured once, since it is the same "
    "each time",
}


def write_report(bench: Bench, environment: Mapping[str, Any], folder: Path) -> Path:
    """Write report.html.

    Args:
        bench: what was measured.
        environment: what `describe_environment` gave.
        folder: where the page goes.

    Raises:
        ZooError: the file cannot be written.
    """
    path = folder / "report.html"
    page = render_page(
        "zoo.lab.bench/report.html.j2",
        heading=f"bench: {', '.join(printable(pattern) for pattern in bench.request.patterns)}",
        name=folder.name,
        problems=[printable(line) for line in [*bench.notes, *failures(bench)]],
        figures=_figures(bench),
        pictures=[],
        blocks=[_block(bench, kind) for kind in bench.kinds],
        legend=[*LEGEND.items(), ("times", spread(bench)), *_METHOD.items()],
        command=bench.request.command,
        candidates=bench.candidates,
        environment=list(flat(environment)),
    )
    write_atomically(path, page)
    return path


def render_bench(bench: Bench) -> str:
    """The tables and the pictures, as a part of a page of somebody else's."""
    return render_fragment(
        "zoo.lab.bench/fragment.html.j2",
        heading=", ".join(printable(pattern) for pattern in bench.request.patterns),
        problems=[printable(line) for line in [*bench.notes, *failures(bench)]],
        blocks=[_shown(bench, kind) for kind in bench.kinds],
        legend=[*LEGEND.items(), ("times", spread(bench))],
    )


def _shown(bench: Bench, kind: str) -> dict[str, Any]:
    lengths = some_lengths(bench.request.lengths)
    measured = any(cell.kind == kind and cell.cost is not None for cell in bench.cells)
    return {
        "title": f"{kind}: {KINDS[kind]}",
        "caption": f"{UNITS[kind]}, at so many tokens",
        "header": header(kind, lengths),
        "rows": [(name, row(bench, kind, name, lengths)) for name in bench.names],
        "picture": markup(bench.plot(kind, titled=False).image) if measured else "",
    }


def _figures(bench: Bench) -> list[tuple[str, str, str]]:
    """What, how much, in which unit."""
    request, peaks = bench.request, bench.peaks
    return [
        ("matrix products", rate(peaks.flops, "FLOP"), f"at most, in {request.precision}"),
        ("copies", rate(peaks.bandwidths[-1][1], "B"), "beyond the caches"),
        ("threads", f"{request.threads}", f"device {request.device}"),
        ("width", f"{request.dim}", f"{request.heads} heads, {request.batch} in a batch"),
        ("repeats", f"{request.repeats}", "in turn; medians are shown"),
        ("time", format_duration(bench.seconds), "for all of it"),
    ]


def _block(bench: Bench, kind: str) -> dict[str, Any]:
    lengths = bench.request.lengths
    return {
        "title": f"{kind}: {KINDS[kind]}",
        "picture": markup(plot_svg(bench, kind)),
        "label": f"{kind}: {KINDS[kind]}, against the length",
        "caption": f"{UNITS[kind]}, at so many tokens",
        "header": header(kind, lengths),
        "rows": [(name, row(bench, kind, name, lengths)) for name in bench.names],
        "detail_header": ["tokens", UNITS[kind], *(("x sdpa",) if kind == "memory" else _DETAILS)],
        "details": [(name, _details(bench, cell)) for name in bench.names for cell in bench.row(kind, name)],
    }


_DETAILS = ("quartiles", "repeats", "tokens/s", "MFLOP", "roofline", "of roofline", "x sdpa")


def _details(bench: Bench, cell: Cell) -> list[str]:
    figures = [f"{cell.length:,}", cost_text(cell)]
    if cell.kind != "memory":
        figures += _details_of_time(cell)
    return [*figures, number(bench.ratio(cell))]


def _details_of_time(cell: Cell) -> list[str]:
    def in_unit(seconds: float | None) -> str:
        return number(None if seconds is None else shown(cell.kind, seconds))

    low, high = cell.quartiles or (None, None)
    return [
        f"{in_unit(low)} to {in_unit(high)}",
        f"{len(cell.seconds)} x {cell.calls}",
        number(cell.tokens_per_second),
        number(None if cell.flops is None else cell.flops / 1e6),
        in_unit(cell.roofline_seconds),
        percent(cell.roofline_fraction),
    ]
