"""The costs, drawn against the length on logarithmic axes."""

from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from zoo.lab.bench.format import UNITS, shown
from zoo.lab.bench.request import KINDS
from zoo.lab.bench.result import Bench, Cell
from zoo.pages.picture import look, new_figure, plain_axes, save_picture, svg_element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_AXES = {"forward": "time", "train": "time", "prefill": "time", "decode": "time", "memory": "memory"}
_GUIDES = {1: (0, (6, 3)), 2: (0, (2, 2))}
_GUIDE = "#9a9a9a"
MIN_RANGE = 2.0
"""How far apart the ends of the axis of costs are at least, as a factor."""
_LONG_NAME, _LINE = 24, 45
"""Letters from which a name needs a wide column, and that one line of it has."""


def save_plots(bench: Bench, folder: Path) -> list[Path]:
    """Write ``bench-<kind>.svg`` and ``.png`` for each kind of cost that was measured.

    Raises:
        ZooError: a file cannot be written.
    """
    paths: list[Path] = []
    for kind in bench.kinds:
        if _measured(bench, kind):
            draw = partial(_figure, bench, kind, f"{kind}: {KINDS[kind]}")
            paths += save_picture(draw, folder / f"bench-{kind}")
    return paths


def plot_svg(bench: Bench, kind: str) -> str:
    """The picture of one kind as an ``<svg>`` element; empty where nothing could be measured."""
    return svg_element(partial(_figure, bench, kind, "")) if _measured(bench, kind) else ""


def cost_figure(bench: Bench, kind: str, *, titled: bool = True) -> "Figure":
    """The picture of one kind, of which something was measured, as a figure of matplotlib."""
    return _figure(bench, kind, f"{kind}: {KINDS[kind]}" if titled else "")


def _measured(bench: Bench, kind: str) -> list[Cell]:
    return [cell for cell in bench.cells if cell.kind == kind and cell.cost is not None]


def _figure(bench: Bench, kind: str, title: str) -> "Figure":
    figure = new_figure(7.2, 4.8)
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="length (tokens)", ylabel=f"{_AXES[kind]} ({UNITS[kind]})")
    axes.set_title(title, loc="left", fontsize=11)
    rows = {name: [cell for cell in bench.row(kind, name) if cell.cost is not None] for name in bench.names}
    drawn = [_draw(axes, name, cells, index) for index, (name, cells) in enumerate(rows.items()) if cells]
    plain_axes(axes, grid="both")
    _label_lengths(axes, sorted({cell.length for cell in _measured(bench, kind)}))
    _label_costs(axes)
    first = next(cells[0] for cells in rows.values() if cells)
    guides = _guide(axes, first.length, shown(kind, first.cost or 0.0))
    columns = 2 if any(len(name) > _LONG_NAME for name in bench.names) else 3
    figure.legend(handles=[*drawn, *guides], frameon=False, loc="outside lower center", ncols=columns, fontsize=9)
    return figure


def _draw(axes: "Axes", name: str, cells: list[Cell], index: int) -> "ErrorbarContainer":
    color, line, marker = look(index)
    costs = [shown(cell.kind, cell.cost or 0.0) for cell in cells]
    quartiles = [(cell.quartiles or (cell.cost or 0.0,) * 2) for cell in cells]
    low = [cost - shown(cell.kind, low) for cost, cell, (low, _) in zip(costs, cells, quartiles, strict=True)]
    high = [shown(cell.kind, high) - cost for cost, cell, (_, high) in zip(costs, cells, quartiles, strict=True)]
    return axes.errorbar(
        [cell.length for cell in cells],
        costs,
        yerr=[low, high],
        color=color,
        linestyle=line,
        marker=marker,
        linewidth=1.6,
        markersize=5,
        capsize=2.5,
        elinewidth=1.0,
        label=fill(name, _LINE),
    )


def _label_lengths(axes: "Axes", lengths: list[int]) -> None:
    """A tick at every length that was measured, or at some where there are many."""
    from matplotlib.ticker import FixedLocator, NullLocator

    every = -(-len(lengths) // 9)
    marked = lengths[::-1][::every]
    axes.xaxis.set_major_locator(FixedLocator(marked))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(marked, [f"{length:,}" for length in marked])
    if len(lengths) == 1:
        axes.set_xlim(lengths[0] / 2, lengths[0] * 2)


def _label_costs(axes: "Axes") -> None:
    """Plain numbers, with more of them where less than two powers of ten are to be seen."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    low, high = _ample(*axes.get_ylim())
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _ample(low: float, high: float) -> tuple[float, float]:
    """Limits that are at least a factor of `MIN_RANGE` apart: costs that differ by a rounding have no room between."""
    widening = max(1.0, MIN_RANGE * low / high) ** 0.5
    return low / widening, high * widening


def _guide(axes: "Axes", length: int, cost: float) -> "list[Line2D]":
    """Grey lines of slope 1 and 2 through a point, cut at the frame."""
    limits, lines = (axes.get_xlim(), axes.get_ylim()), []
    ends = np.array(limits[0])
    for slope, style in _GUIDES.items():
        heights = cost * (ends / length) ** slope
        label = f"guide: grows as t^{slope}"
        lines += axes.plot(ends, heights, color=_GUIDE, linewidth=1.0, linestyle=style, label=label, zorder=1)
    axes.set(xlim=limits[0], ylim=limits[1])
    return lines
