"""The curves of several runs, drawn over one another."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.lab.evaluation.curves import Overlay, X, Y
from zoo.pages.page import printable
from zoo.pages.picture import QUIET, look, new_figure, plain_axes
from zoo.train.curve import loss_range, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SMOOTHED_FROM, _MARKED_UP_TO = 20, 30

_WRAP = 38
"""Characters of a label before it goes on in a new line."""


def draw_overlay(overlay: Overlay) -> "Figure":
    """The curves over one another, with a legend below them."""
    rows = -(-len(overlay.curves) // _columns(overlay))
    figure = new_figure(7.2, 4.0 + 0.24 * rows)
    axes = figure.add_subplot()
    plain_axes(axes)
    is_loss = overlay.y in {"validation", "loss"}
    for number, curve in enumerate(overlay.curves):
        style, many = look(number), len(curve.x) > _MARKED_UP_TO
        smooth = overlay.y in {"loss", "gradient-norm"} and len(curve.y) >= _SMOOTHED_FROM
        y = smoothed(curve.y) if smooth else curve.y
        if smooth:
            axes.plot(curve.x, curve.y, color=style.color, linewidth=0.6, alpha=0.25)
        label = fill(printable(curve.label), _WRAP, break_on_hyphens=False)
        marker = None if many else style.marker
        axes.plot(
            curve.x, y, color=style.color, linestyle=style.line, marker=marker, markersize=4, linewidth=1.6, label=label
        )
    if is_loss:
        _show_losses(axes, [curve.y for curve in overlay.curves])
    elif overlay.y == "accuracy":
        axes.set_ylim(-3, 103)
    _label_axes(axes, overlay, is_loss)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        frameon=False,
        loc="outside lower center",
        ncols=_columns(overlay),
        labelcolor=QUIET,
        fontsize=9,
    )
    return figure


def _label_axes(axes: "Axes", overlay: Overlay, is_loss: bool) -> None:
    from matplotlib.ticker import StrMethodFormatter

    title = Y[overlay.y][1]
    axes.set_ylabel(f"{title} ({overlay.unit})" if is_loss and overlay.unit else title)
    axes.set_xlabel(X[overlay.x])
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=7)
    if overlay.x in {"steps", "seconds"}:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def _show_losses(axes: "Axes", losses: Sequence[NDArray[np.float64]]) -> None:
    """Show what `loss_range` shows of each curve."""
    ranges = [loss_range(values, values[:0]) for values in losses]
    shown = [limits for limits in ranges if limits is not None]
    axes.set_ylim(min(low for low, _ in shown), max(high for _, high in shown))


def _columns(overlay: Overlay) -> int:
    return 2 if any(len(curve.label) > 24 for curve in overlay.curves) else 3
