"""Whole models beside the limits of the machine, and their times beside each other."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from zoo.lab.bench.format import number, rate
from zoo.lab.bench.models.candidates import BASELINE
from zoo.lab.bench.models.result import RATIOS, ROOFLINE, ModelBench, flops_per_second, intensity
from zoo.lab.bench.result import Cell
from zoo.pages.picture import QUIET, look, new_figure, plain_axes, save_picture, svg_element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GIGA = 1e9
_NAME = 34
"""Letters of a name that fit beside bars."""


def save_plots(bench: ModelBench, folder: Path) -> list[Path]:
    """Write ``bench-roofline`` and ``bench-ratios``, each as ``.svg`` and ``.png``, if anything was measured.

    Raises:
        ZooError: a file cannot be written.
    """
    paths: list[Path] = []
    for name, (title, draw) in PICTURES.items():
        if any(cell.cost for cell in bench.cells):
            paths += save_picture(partial(draw, bench, title), folder / f"bench-{name}")
    return paths


def plot_svg(bench: ModelBench, picture: str) -> str:
    """A picture as an ``<svg>`` element; empty where nothing could be measured."""
    _, draw = PICTURES[picture]
    return svg_element(partial(draw, bench, "")) if any(cell.cost for cell in bench.cells) else ""


def roofline_figure(bench: ModelBench, title: str) -> "Figure":
    """Operations a second against operations for each byte, under the limits of the machine."""
    figure = new_figure(7.2, 5.2)
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="FLOP for each byte that must be moved", ylabel="GFLOP/s")
    axes.set_title(title, loc="left", fontsize=11)
    points = [(cell, x, y / _GIGA) for cell in bench.cells if (x := intensity(cell)) and (y := flops_per_second(cell))]
    for cell, x, y in points:
        color, marker = look(bench.names.index(cell.candidate)).color, look(bench.request.kinds.index(cell.kind)).marker
        axes.plot(x, y, marker=marker, color=color, linestyle="", markersize=6.5, markeredgewidth=0, alpha=0.85)
    plain_axes(axes, grid="both")
    _limits(axes, bench, [x for _, x, _ in points], [y for _, _, y in points])
    _label_axes(axes)
    _legend(figure, bench, {cell.candidate for cell, _, _ in points})
    return figure


def _limits(axes: "Axes", bench: ModelBench, xs: list[float], ys: list[float]) -> None:
    """The fastest matrix product, and what memory and the fastest cache allow."""
    peak, speeds = bench.peaks.flops / _GIGA, [speed / _GIGA for _, speed in bench.peaks.bandwidths]
    left, right = min(xs) / 4, 3 * max(*xs, peak / speeds[-1])
    for name, speed, style in (("memory", speeds[-1], "-"), ("cache", max(speeds), "--")):
        knee = min(peak / speed, right)
        axes.plot([left, knee], [left * speed, knee * speed], color=QUIET, linestyle=style, linewidth=1.4)
        beside = 0.75 * left + 0.25 * knee if knee < 4 * left else left * 1.6
        _note(axes, f"{name}, {rate(speed * _GIGA, 'B')}", (beside, beside * speed), (7, -9), "left")
    axes.plot([min(peak / max(speeds), right), right], [peak, peak], color=QUIET, linewidth=1.4)
    label = f"matrix products in {bench.request.precision}, {rate(peak * _GIGA, 'FLOP')}"
    _note(axes, label, (right, peak), (-2, 4), "right")
    axes.set(xlim=(left, right), ylim=(min(*ys, left * speeds[-1]) / 2, peak * 2.5))


def _note(axes: "Axes", text: str, point: tuple[float, float], offset: tuple[int, int], side: str) -> None:
    axes.annotate(text, point, offset, textcoords="offset points", ha=side, fontsize=8, color=QUIET)


def _label_axes(axes: "Axes") -> None:
    """Plain numbers, at the powers of ten."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def _legend(figure: "Figure", bench: ModelBench, shown: set[str]) -> None:
    """A colour for each model, a marker for each kind."""
    from matplotlib.lines import Line2D

    names = [(look(index).color, name) for index, name in enumerate(bench.names) if name in shown]
    models = [Line2D([], [], color=color, marker="s", linestyle="", label=shorten(name, 45)) for color, name in names]
    kinds = [
        Line2D([], [], color=QUIET, marker=look(bench.request.kinds.index(kind)).marker, linestyle="", label=kind)
        for kind in bench.kinds
    ]
    columns = 2 if any(len(name) > _NAME for _, name in names) else 4
    figure.legend(handles=[*models, *kinds], frameon=False, loc="outside lower center", ncols=columns, fontsize=9)


def ratios_figure(bench: ModelBench, title: str) -> "Figure":
    """Bars of the time of each model over that of the dot-product model, a panel for each kind."""
    kinds = [kind for kind in bench.kinds if any(bench.ratio(cell) for cell in bench.cells if cell.kind == kind)]
    columns = min(2, len(kinds)) or 1
    rows = -(-len(kinds) // columns) or 1
    figure = new_figure(3.8 * columns + 1.0, rows * (1.1 + 0.26 * len(bench.names)))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for axes, kind in zip(panels, kinds, strict=False):
        _bars(axes, bench, kind)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    return figure


def _bars(axes: "Axes", bench: ModelBench, kind: str) -> None:
    axes.set_title(kind, loc="left", fontsize=10)
    for index, name in enumerate(bench.names):
        cell: Cell | None = bench.cell(kind, name)
        ratio = None if cell is None else bench.ratio(cell)
        axes.barh(index, ratio or 0.0, color=look(index).color, height=0.7)
        text = "not measured" if ratio is None else number(ratio)
        place, backing = (ratio or 0.0, index), {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.annotate(text, place, (4, 0), textcoords="offset points", va="center", fontsize=8, bbox=backing)
    axes.axvline(1.0, color=QUIET, linewidth=1.0, linestyle=(0, (2, 2)), zorder=0.5)
    axes.set_yticks(
        range(len(bench.names)), [shorten(name, _NAME, placeholder=" …") for name in bench.names], fontsize=9
    )
    axes.set_ylim(len(bench.names) - 0.4, -0.6)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.15)
    plain_axes(axes, grid="x")


PICTURES: Mapping[str, tuple[str, Callable[[ModelBench, str], "Figure"]]] = {
    ROOFLINE: ("models under the limits of the machine", roofline_figure),
    RATIOS: (f"times over that of {BASELINE}", ratios_figure),
}
"""The title of each picture, and what draws it."""
