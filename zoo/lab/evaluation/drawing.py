"""The pictures of an evaluation: the loss by position, and the loss or the accuracy by length."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.lab.evaluation.result import Evaluation
from zoo.pages.picture import GUESS_LINE, QUIET, look, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PER_OCTAVE = 4
"""Points of the curve from a position to twice that: single positions would be too noisy to read."""

_MIN_RANGE = 0.1
"""Nats between the lowest and the highest loss that are shown, at least, so that what is level looks so."""

NAMES = ("position", "length")
"""Of the files of the pictures, without the ending."""


class Picture(NamedTuple):
    """A picture of an evaluation.

    Attributes:
        name: of its files, without the ending, one of `NAMES`.
        title: what it shows.
        reading: how to read it.
        draw: makes the figure.
    """

    name: str
    title: str
    reading: str
    draw: Callable[[], "Figure"]


def pictures_of(evaluation: Evaluation) -> list[Picture]:
    """The pictures that there is something to draw for."""
    pictures = []
    if len(evaluation.losses) > 1:
        reading = "The loss at each position of a sequence, averaged over positions close together."
        if len(evaluation.losses) > evaluation.context:
            reading += f" Training was on {evaluation.context:,} tokens: no position to the right of the line was seen."
        pictures.append(Picture("position", "Loss by position", reading, partial(draw_positions, evaluation)))
    if len(evaluation.lengths) > 1:
        reading = (
            "The same text, cut into sequences of each length. All positions: the mean over the sequences. Last "
            f"{evaluation.last:,} positions: the last {evaluation.last:,} targets of each longest sequence, the same "
            "at every length, predicted from a sequence of that length which ends there. Where a line falls, the model "
            "uses the longer context; where it rises, the longer context harms."
        )
        pictures.append(Picture("length", "Loss by length", reading, partial(draw_lengths, evaluation)))
    if len(evaluation.accuracies.get("length", {})) > 1:
        reading = f"Training was at {evaluation.context:,} tokens alone."
        pictures.append(Picture("length", "Accuracy by length", reading, partial(draw_accuracies, evaluation)))
    return pictures


def draw_positions(evaluation: Evaluation) -> "Figure":
    """The loss against the position."""
    losses = evaluation.losses
    places, means = binned(np.asarray(losses, dtype=np.float64))
    figure, axes = _frame(f"loss ({evaluation.unit})", "position in the sequence (tokens)")
    style = look(0)
    axes.plot(places, means, color=style.color, marker=style.marker, markersize=4, linewidth=1.6)
    if len(losses) > evaluation.context:
        _mark_context(axes, evaluation.context)
    finite = np.isfinite(means)
    # the first few tokens, before which there is little to see, must not flatten all that comes after
    settled = means[finite & (places > min(8, len(losses) // 4))]
    _loss_range(axes, settled, every=means[finite])
    hidden = means[finite & (means > axes.get_ylim()[1])]
    if len(hidden):
        text = f"{hidden.max():.3g} at the first token, above the frame"
        axes.text(0.01, 0.98, text, transform=axes.transAxes, va="top", fontsize=8, color=QUIET)
    return figure


def draw_lengths(evaluation: Evaluation) -> "Figure":
    """The loss against the length, over all positions and over the last."""
    figure, axes = _frame(f"loss ({evaluation.unit})", "length of the sequences (tokens)")
    lengths = [result.length for result in evaluation.lengths]
    every = np.array([result.loss for result in evaluation.lengths])
    last = np.array([result.last_loss for result in evaluation.lengths])
    for number, (values, label) in enumerate(((every, "all positions"), (last, f"last {evaluation.last:,} positions"))):
        style = look(number)
        axes.plot(
            lengths, values, color=style.color, linestyle=style.line, marker=style.marker, linewidth=1.6, label=label
        )
    _mark_lengths(axes, lengths)
    _mark_context(axes, evaluation.context)
    values = np.concatenate([every, last])
    _loss_range(axes, values[np.isfinite(values)])
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    return figure


def draw_accuracies(evaluation: Evaluation) -> "Figure":
    """The accuracy of a task against the length."""
    figure, axes = _frame("accuracy (%)", "length of the sequences (tokens)")
    by_length = {int(length): 100 * value for length, value in evaluation.accuracies["length"].items()}
    lengths, style = sorted(by_length), look(0)
    values = [by_length[length] for length in lengths]
    axes.plot(lengths, values, color=style.color, marker=style.marker, linewidth=1.6, label="model")
    levels = {int(length): 100 * level for length, level in evaluation.guess_levels.get("length", {}).items()}
    if levels:
        axes.plot(sorted(levels), [levels[length] for length in sorted(levels)], label="guessing", **GUESS_LINE)
    _mark_lengths(axes, lengths)
    _mark_context(axes, evaluation.context)
    axes.set_ylim(-3, 103)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    return figure


def binned(losses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the losses over positions nearby, of which there are the more the further right.

    Args:
        losses: by position, ``(t,)``.

    Returns:
        The geometric mean of the positions of each bin, the first of which is 1, and the mean of its losses.
    """
    steps = np.arange(int(_PER_OCTAVE * np.log2(len(losses))) + 1)
    edges = np.unique(np.round(2 ** (steps / _PER_OCTAVE)).astype(int))
    # what is left at the end goes with the last bin
    edges = np.append(edges[edges * 2 ** (0.5 / _PER_OCTAVE) < len(losses) + 1], len(losses) + 1)
    pairs = list(pairwise(edges))
    places = [np.exp(np.log(np.arange(low, high)).mean()) for low, high in pairs]
    means = [np.mean(losses[low - 1 : high - 1]) for low, high in pairs]
    return np.array(places), np.array(means)


def _frame(y: str, x: str) -> tuple["Figure", "Axes"]:
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    figure = new_figure()
    axes = figure.add_subplot()
    plain_axes(axes)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _mark_lengths(axes: "Axes", lengths: Sequence[int]) -> None:
    """A tick at each length, as long as they are few."""
    if len(lengths) <= 9:
        axes.set_xticks(list(lengths), [f"{length:,}" for length in lengths])


def _mark_context(axes: "Axes", context: int) -> None:
    axes.axvline(context, color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        "trained context",
        (context, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=QUIET,
    )


def _loss_range(axes: "Axes", values: NDArray[np.float64], every: NDArray[np.float64] | None = None) -> None:
    """Show these losses with a margin, and of every other as much as does not flatten them."""
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    spread = max(high - low, _MIN_RANGE)
    middle = (low + high) / 2
    low, high = min(low, middle - spread / 2), max(high, middle + spread / 2)
    if every is not None and len(every):
        high = min(max(high, float(every.max())), high + 2 * spread)
        low = min(low, float(every.min()))
    margin = 0.08 * (high - low)
    axes.set_ylim(low - margin, high + 2 * margin)
