"""Pictures of the suites of tasks, drawn from the results that lie beside this file: docs/tasks/<suite>.svg.

python docs/results/suites.py            draw them
python docs/results/suites.py --check    say whether they are of these results; exit code 1 if not
"""

import argparse
import hashlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.pages.picture import GUESS_LINE, QUIET, look, new_figure, plain_axes, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
PICTURES = HERE.parent / "tasks"
COLUMNS = 3
LINEAR = ("hops", "string", "operations", "depth", "moved", "write counted back")
"""Slices whose values are few numbers; the others are lengths and distances, which double."""


class Panel(NamedTuple):
    """What a part of a picture shows.

    Attributes:
        folder: of a comparison.
        data: the task, with its options, as the comparison has it.
        by: the slice, or ``length``.
        title: above it.
    """

    folder: str
    data: str
    by: str
    title: str


FLIP_FLOP = "flip-flop(length=512, test_ignore=0.98)"
STATE_RECALL = "state-recall(bits=8, variables=3, length=20, test_lengths=())"
S3 = "word-problem(group=S3, length=16, test_lengths=(32, 64))"

SUITES = {
    "recall": [
        Panel("lag-or-memory", "mqar(vocab=289)", "distance to the key", "mqar, one layer"),
        Panel("lag-or-memory", "mqar(variant=stacked, vocab=289)", "distance to the key", "stacked, one layer"),
        Panel("forgetting", "mqar(variant=forgetting, vocab=256)", "distance to the key", "forgetting, two layers"),
        Panel("compositional", "mqar(variant=compositional, vocab=256)", "distance to the key", "keys of two tokens"),
    ],
    "state": [
        Panel("state-recall", STATE_RECALL, "moved", "state-recall, one swap"),
        Panel("flip-flop", FLIP_FLOP, "distance to the write", "flip-flop, 98 % ignored"),
        Panel("parity", "parity", "length", "parity, trained at 40"),
        Panel("reflections-s3", S3, "length", "word-problem of S3, trained at 16"),
    ],
    "in-context": [Panel("task-automata", "automata", "string", "automata of up to 8 states")],
    "extrapolation": [
        Panel("parity", "parity", "length", "parity, trained at 40"),
        Panel("task-counting", "counting", "length", "counting, trained at 64"),
        Panel("task-stack", "stack", "length", "stack, trained at 96"),
        Panel("task-undo-flip-flop", "undo-flip-flop", "length", "undo-flip-flop, trained at 50"),
        Panel("task-palindrome", "palindrome", "length", "palindrome, trained at 64"),
        Panel("task-sorting", "sorting", "length", "sorting, trained at 64"),
    ],
}


def draw_suite(panels: list[Panel]) -> "Figure":
    """The accuracy of every pattern by a slice of each task, the mean over the seeds."""
    found = [_data(panel) for panel in panels]
    patterns = list(dict.fromkeys(arm["pattern"] for data in found for arm in data["arms"]))
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.4 * columns, 2.7 * rows + 0.3 + 0.22 * -(-len(patterns) // columns))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    handles = {}
    for axes, panel, data in zip(grid, panels, found, strict=False):
        handles |= _draw(axes, panel, data, patterns)
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes in grid[: len(panels) : columns]:
        axes.set_ylabel("accuracy (%)")
    names = [name for name in (*patterns, "guessing") if name in handles]
    legend = [handles[name] for name in names]
    figure.legend(legend, names, frameon=False, loc="outside lower center", ncols=columns, labelcolor=QUIET)
    return figure


def _draw(axes: "Axes", panel: Panel, data: dict[str, Any], patterns: list[str]) -> dict[str, Any]:
    """One panel; the lines by what the legend calls them."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

    handles, places = {}, set[int]()
    for arm in data["arms"]:
        tables = [run["accuracies"][panel.by] for run in arm["runs"] if panel.by in (run["accuracies"] or {})]
        values = sorted({int(value) for table in tables for value in table})
        means = [100 * _mean([table[str(value)] for table in tables if str(value) in table]) for value in values]
        places |= set(values)
        style = look(patterns.index(arm["pattern"]))
        (handles[arm["pattern"]],) = axes.plot(
            values, means, color=style.color, linestyle=style.line, marker=style.marker, markersize=4
        )
    levels = {int(value): 100 * level for value, level in data["guess_levels"].get(panel.by, {}).items()}
    if levels:
        (handles["guessing"],) = axes.plot(sorted(levels), [levels[value] for value in sorted(levels)], **GUESS_LINE)
    plain_axes(axes)
    if panel.by in LINEAR:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_major_locator(FixedLocator(sorted(places)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(f"{panel.by} (tokens)" if panel.by.startswith(("length", "distance")) else panel.by)
    axes.set_ylim(-3, 103)
    return handles


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _data(panel: Panel) -> dict[str, Any]:
    results = json.loads((HERE / panel.folder / "results.json").read_text(encoding="utf-8"))
    return next(data for data in results["data"] if data["name"] == panel.data)


def source_of(panels: list[Panel]) -> str:
    """A digest of what a picture is drawn from, which stands in its file."""
    shown = [(panel, _data(panel)["arms"], _data(panel)["guess_levels"]) for panel in panels]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def main() -> int:
    """Draw the pictures, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="draw nothing; exit code 1 if a picture is of other results"
    )
    check, stale = parser.parse_args().check, []
    for name, panels in SUITES.items():
        path, source = PICTURES / f"{name}.svg", f"<!-- source: {source_of(panels)} -->\n"
        if not check:
            path.write_text(render(partial(draw_suite, panels), "svg").decode() + source, encoding="utf-8")
        elif not path.is_file() or not path.read_text(encoding="utf-8").endswith(source):
            stale.append(path.name)
    if stale:
        print(f"{', '.join(stale)} in docs/tasks: run python docs/results/suites.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
