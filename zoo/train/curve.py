"""The loss of a run, drawn."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.source import Source
from zoo.files.atomic import write_atomically
from zoo.pages.picture import GUESS_LINE, QUIET, new_figure, plain_axes, render, svg_element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[NDArray[np.float64], NDArray[np.float64]]

# Told apart with every kind of colour vision (Okabe & Ito 2008).
_TRAINING, _TRAINING_LIGHT, _VALIDATION = "#0072B2", "#56B4E9", "#D55E00"
_SMOOTHED_FROM = 20
_MARKED_UP_TO = 25


def draw_curve(
    metrics: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    unit: str = Source.unit,
    accuracy: bool = False,
    guess: float | None = None,
    unigram: float | None = None,
) -> None:
    """Draw training and validation loss against the step, as a PNG file.

    Args:
        metrics: the rows of metrics.jsonl.
        path: the file to write.
        title: what stands above, e.g. the pattern.
        unit: of the losses.
        accuracy: draw the validation accuracy below, too.
        guess: the accuracy that guessing gives, a line beside it.
        unigram: the loss that token frequencies alone give, a line beside the losses.

    Raises:
        ZooError: the file cannot be written.
    """
    write_atomically(path, render(partial(_figure, metrics, title, unit, accuracy, guess, unigram), "png"))


def curve_svg(
    metrics: Sequence[Mapping[str, Any]],
    *,
    title: str,
    unit: str = Source.unit,
    accuracy: bool = False,
    guess: float | None = None,
    unigram: float | None = None,
) -> str:
    """The same picture as an ``<svg>`` element, to stand in a page."""
    return svg_element(partial(_figure, metrics, title, unit, accuracy, guess, unigram))


def curve_figure(
    metrics: Sequence[Mapping[str, Any]],
    *,
    title: str,
    unit: str = Source.unit,
    accuracy: bool = False,
    guess: float | None = None,
    unigram: float | None = None,
) -> "Figure":
    """The same picture as a figure of matplotlib."""
    return _figure(metrics, title, unit, accuracy, guess, unigram)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over a window around each value, a twentieth of them wide.

    The window is centred, so that it does not lag; at the start it narrows, so that it does not flatten the fall
    there.
    """
    index = np.arange(len(values))
    reach = np.minimum(index, max(1, len(values) // 40))
    total = np.concatenate([[0.0], np.cumsum(values)])
    first, last = index - reach, np.minimum(index + reach, len(values) - 1)
    return np.asarray((total[last + 1] - total[first]) / (last + 1 - first))


def loss_range(training: NDArray[np.float64], validation: NDArray[np.float64]) -> tuple[float, float] | None:
    """The losses that the picture shows: all of them, unless the first or a few wild ones would flatten the rest.

    Args:
        training: the training losses in the order of the steps, all finite.
        validation: the validation losses, all finite.

    Returns:
        The lowest and the highest, with a margin; None where there is nothing to show.
    """
    every = np.concatenate([training, validation])
    if not len(every):
        return None
    low, highest = float(every.min()), float(every.max())
    high = max(_almost_highest(losses[len(losses) // 10 :]) for losses in (training, validation) if len(losses))
    if highest - low <= 4 * (high - low):
        high = highest
    else:
        high += 0.5 * (high - low)
    margin = 0.06 * (high - low) or 0.05 * max(1.0, abs(high))
    return low - margin, high + margin


def _almost_highest(losses: NDArray[np.float64]) -> float:
    """The highest but for a few; the last one counts, since a run that diverged must look so."""
    return float(max(np.quantile(losses, 0.97, method="lower"), losses[-1]))


def _figure(  # noqa: PLR0917 - what the picture shows, as `draw_curve` names it
    metrics: Sequence[Mapping[str, Any]],
    title: str,
    unit: str,
    accuracy: bool,
    guess: float | None,
    unigram: float | None,
) -> "Figure":
    figure = new_figure(height=6.2 if accuracy else 4.2)
    axes = figure.add_subplot(2, 1, 1) if accuracy else figure.add_subplot()
    if accuracy:
        _plot_accuracy(figure.add_subplot(2, 1, 2, sharex=axes), *_points(metrics, "validation_accuracy"), guess)
    training, validation = _points(metrics, "train_loss"), _points(metrics, "validation_loss")
    _decorate(axes, title)
    axes.set_ylabel(f"loss ({unit})")
    shown = loss_range(training[1], validation[1])
    if shown is None:
        axes.text(0.5, 0.5, "no finite loss was logged", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set(xticks=[], yticks=[])
        return figure
    if unigram is not None:
        axes.axhline(unigram, label=f"unigram, {_text(unigram)}", **GUESS_LINE)
        shown = shown[0], max(shown[1], unigram + 0.05 * (unigram - shown[0]))
    _plot_training(axes, *training)
    _plot_validation(axes, *validation)
    _frame(axes, np.concatenate([training[0], validation[0]]), shown)
    _tell_what_is_hidden(axes, training, shown[1])
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure


def _points(metrics: Sequence[Mapping[str, Any]], name: str) -> Points:
    pairs = [(row["step"], row[name]) for row in metrics if row.get(name) is not None and math.isfinite(row[name])]
    points = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _plot_training(axes: "Axes", steps: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
    if not len(steps):
        return
    label = f"training, last {_text(losses[-1])}"
    if len(steps) < _SMOOTHED_FROM:
        axes.plot(steps, losses, color=_TRAINING, linewidth=1.6, marker="o", markersize=4, label=label)
        return
    line = smoothed(losses)
    axes.plot(steps, losses, color=_TRAINING_LIGHT, linewidth=0.8, alpha=0.65)
    axes.plot(steps, line, color=_TRAINING, linewidth=1.8, label=f"training, smoothed, last {_text(line[-1])}")


def _plot_validation(axes: "Axes", steps: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
    if not len(steps):
        return
    marker = "s" if len(steps) <= _MARKED_UP_TO else None
    label = f"validation, last {_text(losses[-1])}"
    axes.plot(steps, losses, color=_VALIDATION, linewidth=1.8, marker=marker, markersize=4, label=label, zorder=3)


def _plot_accuracy(axes: "Axes", steps: NDArray[np.float64], shares: NDArray[np.float64], guess: float | None) -> None:
    if guess is not None:
        axes.axhline(100 * guess, label=f"guessing, {guess:.1%}", **GUESS_LINE)
        axes.legend(frameon=False, loc="best")
    marker = "s" if len(steps) <= _MARKED_UP_TO else None
    axes.plot(steps, 100 * shares, color=_VALIDATION, linewidth=1.8, marker=marker, markersize=4)
    _decorate(axes, "")
    axes.set_ylabel("validation accuracy (%)")
    axes.set_ylim(-3, 103)


def _decorate(axes: "Axes", title: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_title(fill(title, 70), loc="left", fontsize=11)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    plain_axes(axes)


def _frame(axes: "Axes", steps: NDArray[np.float64], shown: tuple[float, float]) -> None:
    axes.set_ylim(*shown)
    if steps.min() == steps.max():
        axes.set_xlim(steps[0] - 1, steps[0] + 1)


def _tell_what_is_hidden(axes: "Axes", training: Points, top: float) -> None:
    steps, losses = training
    above = np.flatnonzero(losses > top)
    if len(above):
        peak = above[np.argmax(losses[above])]
        text = f"up to {_text(losses[peak])} above the frame (step {steps[peak]:,.0f})"
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axes.text(0.99, 0.98, text, transform=axes.transAxes, ha="right", va="top", fontsize=8, bbox=paper)


def _text(loss: float) -> str:
    return f"{loss:.3f}" if abs(loss) < 100 else f"{loss:,.4g}"
