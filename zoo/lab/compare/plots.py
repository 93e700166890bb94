"""The pictures of a comparison."""

from collections.abc import Callable, Sequence
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo.data.source import Metric
from zoo.lab.compare.curves import Curve, read_curve
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.format import format_value, metric_title
from zoo.lab.compare.plan import Trial
from zoo.lab.compare.results import ArmResult, DataResult, Results
from zoo.pages.page import printable
from zoo.pages.picture import GUESS_LINE, QUIET, look, new_figure, plain_axes
from zoo.train.summary import Accuracies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MIN_RANGE = 0.1
"""Nats between the lightest and the darkest shade of a loss, at least, so that what differs by little looks so."""

_WRAP = 34
"""Characters of a pattern before it goes on in a new line."""


class Picture(NamedTuple):
    """A picture of a comparison.

    Attributes:
        name: of its files, without the ending.
        title: what it shows, in a sentence.
        draw: makes the figure.
    """

    name: str
    title: str
    draw: Callable[[], "Figure"]


def pictures_of(results: Results, folder: Folder) -> dict[str, list[Picture]]:
    """The pictures of each text or task, by its name; those of all together under an empty name."""
    patterns = list(dict.fromkeys(arm.arm.pattern for result in results.data for arm in result.arms))
    pictures = {}
    for number, result in enumerate(results.data):
        pictures[result.data] = _of_one(results, folder, result, f"{number:02d}", patterns)
    measured = [result for result in results.data if any(arm.estimate for arm in result.arms)]
    if len(measured) > 1:
        title = "The mean of all patterns on all data; darker is better."
        if any(result.metric == "loss" for result in measured):
            title += " A loss is shaded from the worst to the best of its column."
        pictures[""] = [Picture("overview", title, partial(draw_heat_map, measured, patterns))]
    return pictures


def _of_one(
    results: Results, folder: Folder, result: DataResult, prefix: str, patterns: Sequence[str]
) -> list[Picture]:
    curves = {}
    for arm in result.arms:
        curve = read_curve(results.plan, folder, arm, result.metric)
        if curve is not None:
            curves[arm.arm.pattern] = curve
    pictures = []
    if curves:
        title = "The mean over the seeds, in a band from the lowest to the highest of them, while training went on."
        pictures.append(Picture(f"{prefix}-curves", title, partial(draw_curves, curves, result, patterns)))
    if any(arm.estimate for arm in result.arms):
        several = any(arm.estimate and arm.estimate.seeds > 1 for arm in result.arms)
        title = "The mean, its 95 % interval, and each seed." if several else "The result of the one seed."
        pictures.append(Picture(f"{prefix}-means", title, partial(draw_means, result, patterns)))
    for kind in _kinds(result.arms):
        title = f"Accuracy by {kind}, mean over the seeds."
        if kind == "length":
            title += f" Training was at {_context(result.arms)} tokens alone."
        slug = "".join(letter if letter.isalnum() else "-" for letter in kind)
        pictures.append(Picture(f"{prefix}-by-{slug}", title, partial(draw_slices, result, kind, patterns)))
    return pictures


def draw_curves(curves: dict[str, Curve], result: DataResult, patterns: Sequence[str]) -> "Figure":
    """The metric against steps, seconds and floating-point operations, side by side."""
    metric = result.metric
    figure = new_figure(10, 3.6 + 0.24 * _legend_rows(curves))
    panels = figure.subplots(1, 3, sharey=True)
    for axes, name, label in zip(panels, ("steps", "seconds", "flops"), _CURVE_LABELS, strict=True):
        for pattern, curve in curves.items():
            style, x = look(patterns.index(pattern)), getattr(curve, name)
            scale = 100 if metric == "accuracy" else 1
            axes.plot(
                x,
                scale * curve.mean,
                color=style.color,
                linestyle=style.line,
                marker=style.marker if len(x) <= 30 else None,
                markersize=3.5,
                linewidth=1.6,
                label=_label(pattern),
            )
            axes.fill_between(x, scale * curve.low, scale * curve.high, color=style.color, alpha=0.15, linewidth=0)
        if result.guess is not None:
            axes.axhline(100 * result.guess, **GUESS_LINE, label="guessing")
        plain_axes(axes)
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.xaxis.get_major_locator().set_params(nbins=5)
    panels[0].set_ylabel(metric_title(metric, result.unit))
    if metric == "accuracy":
        panels[0].set_ylim(-3, 103)
    _legend(figure, panels[0])
    return figure


_CURVE_LABELS = ("step", "seconds of training", "floating-point operations")


def draw_means(result: DataResult, patterns: Sequence[str]) -> "Figure":
    """A row a pattern: its mean, with the interval and the seeds."""
    arms = [arm for arm in result.arms if arm.estimate is not None]
    scale = 100 if result.metric == "accuracy" else 1
    figure = new_figure(7.2, 1.1 + 0.45 * len(arms))
    axes = figure.add_subplot()
    for row, arm in enumerate(reversed(arms)):
        assert arm.estimate is not None
        style, mean = look(patterns.index(arm.arm.pattern)), scale * arm.estimate.mean
        if result.metric == "accuracy":
            axes.barh(row, mean, height=0.62, color=style.color, alpha=0.35, edgecolor=style.color)
        else:  # the scale does not begin at 0, so that the length of a bar would say nothing
            axes.plot([mean], [row], "|", color="black", markersize=16)
        seeds = [scale * value for value in arm.values(result.metric).values()]
        axes.plot(seeds, [row] * len(seeds), style.marker, color=style.color, markersize=5, linestyle="none")
        if arm.estimate.low is not None and arm.estimate.high is not None:
            reach = scale * (arm.estimate.high - arm.estimate.low) / 2
            axes.errorbar(mean, row, xerr=reach, color="black", capsize=4, linewidth=1.2)
    if result.guess is not None:
        axes.axvline(100 * result.guess, **GUESS_LINE, label="guessing")
        figure.legend(frameon=False, loc="outside lower right", labelcolor=QUIET)
    axes.set_yticks(range(len(arms)), [_label(arm.arm.pattern) for arm in reversed(arms)])
    axes.set_ylim(-0.6, len(arms) - 0.4)
    plain_axes(axes, grid="x")
    axes.set_xlabel(metric_title(result.metric, result.unit))
    _frame_means(axes, arms, result)
    return figure


def _frame_means(axes: "Axes", arms: Sequence[ArmResult], result: DataResult) -> None:
    metric = result.metric
    if metric == "accuracy":
        axes.set_xlim(0, 104)
        return
    values = [value for arm in arms for value in arm.values(metric).values()]
    values += [bound for arm in arms if arm.estimate for bound in (arm.estimate.low, arm.estimate.high) if bound]
    # losses lie close together, far from zero: a scale from zero would hide what differs
    margin = 0.08 * (max(values) - min(values)) or 0.05 * max(values)
    axes.set_xlim(min(values) - margin, max(values) + margin)
    axes.set_xlabel(f"{metric_title(metric, result.unit)}; the scale does not begin at 0")


def draw_slices(result: DataResult, kind: str, patterns: Sequence[str]) -> "Figure":
    """The accuracy for each value of a slice, or at each length."""
    shown = [arm for arm in result.arms if any(kind in _accuracies(arm, seed) for seed in arm.runs)]
    figure = new_figure(7.2, 3.4 + 0.24 * _legend_rows(shown))
    axes = figure.add_subplot()
    for arm in shown:
        tables = [_accuracies(arm, trial)[kind] for trial in arm.runs if kind in _accuracies(arm, trial)]
        values = sorted({int(value) for table in tables for value in table})
        means = [100 * np.mean([table[str(v)] for table in tables if str(v) in table]) for v in values]
        style = look(patterns.index(arm.arm.pattern))
        marker = style.marker if len(values) <= 30 else None
        label = _label(arm.arm.pattern)
        axes.plot(values, means, color=style.color, linestyle=style.line, marker=marker, markersize=4, label=label)
    levels = {int(value): 100 * level for value, level in result.guess_levels.get(kind, {}).items()}
    if levels:
        axes.plot(sorted(levels), [levels[value] for value in sorted(levels)], **GUESS_LINE, label="guessing")
    plain_axes(axes)
    if kind == "length" or kind.startswith("distance"):
        _powers_of_two(axes)
    axes.set_xlabel(f"{kind} (tokens)" if kind == "length" or kind.startswith("distance") else kind)
    axes.set_ylabel("validation accuracy (%)")
    axes.set_ylim(-3, 103)
    _legend(figure, axes)
    return figure


def _powers_of_two(axes: "Axes") -> None:
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_heat_map(results: Sequence[DataResult], patterns: Sequence[str]) -> "Figure":
    """Patterns by data: the mean of each, shaded from the worst to the best of its column where it is a loss."""
    guessing = ["guessing"] if any(result.guess is not None for result in results) else []
    rows = [*patterns, *guessing]
    figure = new_figure(2.6 + 1.15 * len(results), 1.6 + 0.5 * len(rows))
    axes = figure.add_subplot()
    means = np.full((len(rows), len(results)), np.nan)
    for column, result in enumerate(results):
        if result.guess is not None:
            means[-1, column] = result.guess
        for arm in result.arms:
            if arm.estimate is not None:
                means[patterns.index(arm.arm.pattern), column] = arm.estimate.mean
    shades = np.stack([_shade(means[:, i], result.metric) for i, result in enumerate(results)], axis=1)
    axes.pcolormesh(np.ma.masked_invalid(shades), cmap="Blues", vmin=-0.05, vmax=1.25, edgecolor="white", linewidth=2)
    axes.invert_yaxis()
    for row, column in np.ndindex(means.shape):
        text = format_value(float(means[row, column]), results[column].metric)
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=9,
            color="white" if shades[row, column] > 0.85 else "black",
        )
    names = [_label(result.data, 18) for result in results]
    axes.set_xticks(np.arange(len(results)) + 0.5, names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_label(row) for row in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _shade(values: "np.ndarray", metric: Metric) -> "np.ndarray":
    """From 0, the worst, to 1, the best; NaN stays NaN."""
    if metric == "accuracy":
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    return 0.5 + ((low + high) / 2 - values) / max(high - low, _MIN_RANGE)


def _kinds(arms: Sequence[ArmResult]) -> list[str]:
    """The slices of the accuracy, where there is more than one value."""
    kinds: dict[str, set[str]] = {}
    for arm in arms:
        for trial in arm.runs:
            for kind, table in _accuracies(arm, trial).items():
                kinds.setdefault(kind, set()).update(table)
    return [kind for kind, values in kinds.items() if len(values) > 1]


def _accuracies(arm: ArmResult, trial: Trial) -> Accuracies:
    summary = arm.runs[trial].summary
    return {} if summary is None else summary.accuracies


def _context(arms: Sequence[ArmResult]) -> int:
    return next(arm.arm.settings.context for arm in arms if arm.arm.settings is not None)


def _label(text: str, width: int = _WRAP) -> str:
    """A pattern or a name of data in lines, broken at spaces, brackets and slashes, not at the hyphens of names."""
    text = printable(text)  # matplotlib draws no lone surrogates, as in a path that is not UTF-8
    for mark in "(/":
        text = text.replace(mark, f"{mark} ")
    return fill(text, width, break_on_hyphens=False).replace("( ", "(").replace("/ ", "/")


def _legend_rows(names: "dict[str, Curve] | Sequence[ArmResult]") -> int:
    return -(-len(names) // 3)


def _legend(figure: "Figure", axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3, labelcolor=QUIET)
