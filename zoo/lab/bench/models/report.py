"""The page of a bench of whole models: one file, without scripts and without the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.files.atomic import write_atomically
from zoo.lab.bench.format import number, percent, rate
from zoo.lab.bench.models.plot import PICTURES, plot_svg
from zoo.lab.bench.models.request import KINDS, STRETCH
from zoo.lab.bench.models.result import ModelBench
from zoo.lab.bench.models.summary import HEADER, LEGEND, caption, row
from zoo.lab.bench.result import Cell, failures
from zoo.lab.bench.summary import spread
from zoo.pages.page import flat, markup, printable, render_fragment, render_page
from zoo.train.report import format_duration

_METHOD = {
    "what runs": "the whole language model on random tokens, a new one for each kind of cost; a training step is that "
    "of the zoo, an evaluation is that of a batch of validation text",
    "decode": f"each token continues the one before, up to {STRETCH} of them; then it starts again at the prompt",
    "bytes": "in training the parameters, their gradients and what the optimizer keeps, each read and written; "
    "otherwise the parameters, and the state that is written by a prompt and read in decoding; "
    "activations may stay in caches",
    "limits": "the fastest matrix product, and the fastest sum or copy of as many bytes; of causal attention only the "
    "scores that are not masked count",
}


def write_report(bench: ModelBench, environment: Mapping[str, Any], folder: Path) -> Path:
    """Write report.html.

    Args:
        bench: what was measured.
        environment: what `describe_environment` gave.
        folder: where the page goes.

    Raises:
        ZooError: the file cannot be written.
    """
    path = folder / "report.html"
    drawn = [(title, plot_svg(bench, name)) for name, (title, _) in PICTURES.items()]
    page = render_page(
        "zoo.lab.bench/report.html.j2",
        heading=f"bench of models: {', '.join(printable(pattern) for pattern in bench.request.patterns)}",
        name=folder.name,
        problems=[printable(line) for line in [*bench.notes, *failures(bench)]],
        figures=_figures(bench),
        pictures=[(title, markup(svg)) for title, svg in drawn if svg],
        blocks=[_block(bench, kind) for kind in bench.kinds],
        legend=[*LEGEND.items(), ("times", spread(bench)), *_METHOD.items()],
        command=bench.request.command,
        candidates=bench.candidates,
        environment=list(flat(environment)),
    )
    write_atomically(path, page)
    return path


def render_bench(bench: ModelBench) -> str:
    """The tables and the pictures, as a part of a page of somebody else's."""
    blocks = [_block(bench, kind) for kind in bench.kinds]
    if blocks and any(cell.cost for cell in bench.cells):
        blocks[-1]["picture"] = markup("".join(bench.plot(name).image for name in PICTURES))
    return render_fragment(
        "zoo.lab.bench/fragment.html.j2",
        heading=", ".join(printable(pattern) for pattern in bench.request.patterns),
        problems=[printable(line) for line in [*bench.notes, *failures(bench)]],
        blocks=blocks,
        legend=[*LEGEND.items(), ("times", spread(bench))],
    )


def _figures(bench: ModelBench) -> list[tuple[str, str, str]]:
    """What, how much, in which unit."""
    request, peaks = bench.request, bench.peaks
    compiled = ", training steps compiled" if request.compile else ""
    return [
        ("matrix products", rate(peaks.flops, "FLOP"), f"at most, in {request.precision}"),
        ("memory", rate(peaks.bandwidths[-1][1], "B"), "beyond the caches"),
        ("threads", f"{request.threads}", f"device {request.device}{compiled}"),
        ("size", f"{request.layers} x {request.dim}", f"layers and width, {request.heads} heads"),
        ("batch", f"{request.batch} x {request.context}", f"of {request.vocab_size:,} different tokens"),
        ("repeats", f"{request.repeats}", "in turn; medians are shown"),
        ("time", format_duration(bench.seconds), "for all of it"),
    ]


def _block(bench: ModelBench, kind: str) -> dict[str, Any]:
    return {
        "title": f"{kind}: {KINDS[kind]}",
        "caption": caption(bench, kind),
        "picture": "",
        "label": "",
        "header": HEADER,
        "rows": [(name, row(bench, kind, name)) for name in bench.names],
        "detail_header": _DETAILS,
        "details": [(name, _details(cell)) for name in bench.names for cell in bench.row(kind, name)],
    }


_DETAILS = ("quartiles (ms)", "repeats", "state (MB)", "MFLOP, unmasked", "least time (ms)", "of it")


def _details(cell: Cell) -> list[str]:
    low, high = (number(1e3 * seconds) for seconds in cell.quartiles) if cell.quartiles else ("-", "-")
    return [
        f"{low} to {high}",
        f"{len(cell.seconds)} x {cell.calls}",
        number(None if cell.state is None else cell.state / 1e6),
        number(None if cell.masked_flops is None else cell.masked_flops / 1e6),
        number(None if cell.roofline_seconds is None else 1e3 * cell.roofline_seconds),
        percent(cell.roofline_fraction),
    ]
