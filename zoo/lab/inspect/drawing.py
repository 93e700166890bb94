"""Panels, drawn."""

import math
from collections.abc import Sequence
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.pages.picture import look, new_figure, plain_axes
from zoo.panel import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Values = NDArray[np.float64]

_WIDTH = 7.2
_WRITTEN_OUT = 128
"""Up to so many cells of a map have their number written in."""
_MAX_NAMES = 64
"""Up to so many places have a name each, of more every second, third, …"""
_COUNTED = 16
"""Up to so many places have a number each."""


def draw(panel: Panel, *, title: str = "") -> "Figure":
    """The figure of a panel.

    Args:
        panel: what to draw.
        title: what stands above it; in a page that is the page's.
    """
    values = panel.values.detach().double().cpu().numpy()
    values = np.where(np.isfinite(values), values, np.nan)
    if values.ndim == 1:
        figure = _bars(panel, values)
    elif panel.lines:
        figure = _lines(panel, values)
    else:
        figure = _maps(panel, values if values.ndim == 3 else values[None])
    if title:
        figure.suptitle(fill(_plain(title), 80), x=0.01, ha="left", fontsize=11)
    return figure


def _bars(panel: Panel, values: Values) -> "Figure":
    """Bars with names lie, so that the names can be read; others stand."""
    names = _names(panel, 0)
    if not names:
        figure = new_figure(_WIDTH, 3.2)
        axes = figure.add_subplot()
        axes.bar(np.arange(len(values)), values, color=look(0).color)
        axes.set(xlabel=_plain(panel.axes[0]), ylabel=fill(_plain(panel.quantity), 40))
        _count(axes.xaxis, len(values))
        plain_axes(axes)
    else:
        figure = new_figure(_WIDTH, 1.0 + 0.26 * min(len(values), _MAX_NAMES))
        axes = figure.add_subplot()
        axes.barh(np.arange(len(values)), values, color=look(0).color)
        axes.set(xlabel=_plain(panel.quantity), ylabel=_plain(panel.axes[0]))
        _tick(axes.yaxis, names, len(values))
        axes.locator_params(axis="x", nbins=7)
        axes.set_ylim(len(values) - 0.4, -0.6)
        plain_axes(axes, grid="x")
        axes.axvline(0, color="black", linewidth=0.8)
    return figure


def _lines(panel: Panel, values: Values) -> "Figure":
    figure = new_figure()
    axes = figure.add_subplot()
    names = _names(panel, 0) or [str(row) for row in range(len(values))]
    places = np.arange(values.shape[1])
    for index, (row, name) in enumerate(zip(values, names, strict=True)):
        color, line, marker = look(index)
        step = max(1, len(row) // 10)
        axes.plot(
            places,
            row,
            color=color,
            linestyle=line,
            marker=marker,
            markersize=4,
            markevery=(index % 5 * step // 5, step),  # lines that lie on each other have their markers apart
            label=name,
            linewidth=1.5,
        )
    axes.set(xlabel=_plain(panel.axes[1]), ylabel=fill(_plain(panel.quantity), 40))
    _tick(axes.xaxis, _names(panel, 1), values.shape[1], 80)
    plain_axes(axes)
    columns = max(1, min(len(names), 90 // (max(map(len, names)) + 8)))
    figure.legend(title=_plain(panel.axes[0]), frameon=False, loc="outside lower center", ncols=columns, fontsize=9)
    return figure


def _maps(panel: Panel, values: Values) -> "Figure":
    count, rows, places = values.shape
    columns = 1 if count == 1 or places > 3 * rows else 2
    stacked = math.ceil(count / columns)
    height = 2.9
    if columns == 1:
        height = max(0.9, min(3.2, 0.26 * rows), 0.19 * min(len(_names(panel, -2)), _MAX_NAMES))
    names = _names(panel, -1)
    room = 64 // columns - max(map(len, _names(panel, -2)), default=0)
    around = 0.25 * (count > 1) + (0.09 * max(map(len, names)) if _overlap(names, room) else 0)
    figure = new_figure(_WIDTH, stacked * (height + around) + 0.9)
    grid = figure.subplots(stacked, columns, squeeze=False)
    heads = [f"{_plain(panel.axes[0])} {name}" for name in _names(panel, 0) or range(count)]
    image = None
    for index, axes in enumerate(grid.flat):
        if index >= count:
            axes.set_axis_off()
            continue
        image = _map(axes, values[index], values)
        _tick(axes.yaxis, _names(panel, -2), rows)
        _tick(axes.xaxis, names, places, room)
        axes.set_ylabel(fill(_plain(panel.axes[-2]), round(13 * height)) if index % columns == 0 else "")
        axes.set_xlabel(_plain(panel.axes[-1]) if index + columns >= count else "")
        if panel.values.ndim == 3:
            axes.set_title(heads[index], loc="left", fontsize=9)
    assert image is not None
    length = min(3.2, stacked * height)
    label = fill(_plain(panel.quantity), round(13 * length))
    figure.colorbar(image, ax=grid, label=label, shrink=length / (stacked * height), aspect=5 * length)
    return figure


def _map(axes: "Axes", values: Values, every: Values) -> "AxesImage":
    low, high = _scale(every)
    image = axes.imshow(
        values, aspect="auto", interpolation="nearest", cmap="PuOr" if low < 0 else "Blues", vmin=low, vmax=high
    )
    if every.size <= _WRITTEN_OUT and values.shape[1] <= 10:
        for (row, place), value in np.ndenumerate(values):
            dark = abs(value) > 0.6 * high
            axes.text(
                place, row, _short(value), ha="center", va="center", fontsize=8, color="white" if dark else "black"
            )
    return image


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}"


def _scale(values: Values) -> tuple[float, float]:
    """From zero up, or around zero where there are negative ones."""
    finite = values[np.isfinite(values)]
    high = float(np.abs(finite).max()) if len(finite) else 0.0
    return (-high if len(finite) and finite.min() < 0 else 0.0), high or 1.0


def _names(panel: Panel, axis: int) -> list[str]:
    """The names of the places along an axis, none too long to be drawn."""
    names: Sequence[str] = panel.ticks[axis] if panel.ticks else ()
    return [_plain(str(name), 32) for name in names]


def _plain(text: str, most: int = 200) -> str:
    """The text without what cannot be drawn, no longer than is good to read."""
    printable = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return printable if len(printable) <= most else f"{printable[: most - 1]}…"


def _tick(axis: "Axis", names: Sequence[str], places: int, room: int = 0) -> None:
    """Name the places of an axis, or count them; names that need more signs than there is room for stand upright."""
    if not names:
        _count(axis, places, room)
        return
    chosen = range(0, places, -(-places // _MAX_NAMES))
    axis.set_ticks(list(chosen), [names[place] for place in chosen])
    if room and _overlap(names, room):
        axis.set_tick_params(rotation=90)


def _overlap(names: Sequence[str], room: int) -> bool:
    """Whether two neighbours would touch, where there is room for so many signs along the axis."""
    return any(len(first) + len(second) + 4 > 2 * room / len(names) for first, second in pairwise(names))


def _count(axis: Any, places: int, room: int = 0) -> None:
    from matplotlib.ticker import MaxNLocator

    every = places <= _COUNTED and not (room and _overlap([str(place) for place in range(places)], room))
    axis.set_major_locator(MaxNLocator(nbins=places + 2 if every else 8, integer=True, min_n_ticks=1))
