"""Tables of comparisons, from the folders that lie beside this file; build.py makes a page of them."""

import csv
import json
import statistics
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from zoo.lab.compare.format import count, format_estimate, format_value
from zoo.lab.statistics import Estimate

HERE = Path(__file__).parent
UNITS = {"accuracy": "accuracy", "loss": "loss (nats)"}
TWO_RUNS = 2.77
"""Two runs of one normal distribution are further apart than so many standard deviations once in twenty."""


def read(folder: str, name: str) -> dict[str, Any]:
    """One of the committed files."""
    return dict(json.loads((HERE / folder / name).read_text(encoding="utf-8")))


def comparison(folder: str) -> str:
    """The tables of a comparison, one for each text or task."""
    results = read(folder, "results.json")
    return "\n\n".join(_one(data) for data in results["data"])


def overview(folder: str, published: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """All patterns on all data, in one table, and below them what others published, in percent, by name and data."""
    data = read(folder, "results.json")["data"]
    patterns = [arm["pattern"] for arm in data[0]["arms"]]
    arms = {(one["name"], arm["pattern"]): (arm, one["metric"]) for one in data for arm in one["arms"]}
    rows = [[f"`{pattern}`", *(_mean(*arms[one["name"], pattern]) for one in data)] for pattern in patterns]
    guesses = [one["guess"] for one in data]
    if any(guess is not None for guess in guesses):
        rows.append(["guessing", *(format_value(guess, "accuracy") for guess in guesses)])
    for name, shares in (published or {}).items():
        rows.append(
            [
                f"{name}, published",
                *(f"{shares[one['name']]:.1f} %" if one["name"] in shares else "n/a" for one in data),
            ]
        )
    return table(["pattern", *(f"`{one['name']}`" for one in data)], rows)


def solvers(*folders: str) -> str:
    """What solves each task and what it takes: of each comparison, the pattern that is solved by most seeds."""
    rows = []
    for folder in folders:
        with (HERE / folder / "timings.csv").open(encoding="utf-8", newline="") as file:
            timings = [row for row in csv.DictReader(file) if row["kind"] == "result"]
        for data in read(folder, "results.json")["data"]:
            best = max(data["arms"], key=lambda arm: (arm["solve_rate"]["solved"], arm["estimate"]["mean"]))
            own = [float(row["seconds"]) for row in timings if row["pattern"] == best["pattern"]]
            solved, guess = (format_value(data[name], "accuracy") for name in ("solved", "guess"))
            seeds = f"{best['solve_rate']['solved']} of {best['solve_rate']['seeds']}"
            found = ", ".join(format_value(run["validation_accuracy"], "accuracy") for run in best["runs"])
            minutes = f"{statistics.median(own) / 60:.1f}"
            rows.append(
                [f"`{data['name']}`", f"`{best['pattern']}`", guess, solved, seeds, found, _steps(best), minutes]
            )
    return table(["task", "mixer", "guess", "solved from", "seeds that solve", "accuracies", "steps", "minutes"], rows)


def by_slice(folder: str, name: str, kind: str, values: list[str]) -> str:
    """The accuracy on one task, told apart by one of its slices or by length; the mean over the seeds."""
    data = next(one for one in read(folder, "results.json")["data"] if one["name"] == name)
    rows = []
    for arm in data["arms"]:
        tables = [run["accuracies"][kind] for run in arm["runs"] if run["accuracies"]]
        means = [sum(table[value] for table in tables) / len(tables) for value in values]
        rows.append([f"`{arm['pattern']}`", *(format_value(mean, "accuracy") for mean in means)])
    rows.append(["guessing", *(format_value(data["guess_levels"][kind].get(value), "accuracy") for value in values)])
    return table([kind, *values], rows)


def noise_floor(folder: str) -> str:
    """How far seeds alone move each accuracy of one pattern, and what that hides."""
    rows = []
    for data in read(folder, "results.json")["data"]:
        floor = data["arms"][0]["noise_floor"]
        apart = (TWO_RUNS * floor["spread"], *(floor["resolvable"][seeds] for seeds in ("3", "5", "20")))
        rows.append(
            [
                f"`{data['name']}`",
                format_value(floor["mean"], "accuracy"),
                f"{100 * floor['spread']:.2f} ({100 * floor['low']:.2f} to {100 * floor['high']:.2f})",
                f"{format_value(floor['lowest'], 'accuracy')} to {format_value(floor['highest'], 'accuracy')}",
                *(f"{100 * least:.1f}" for least in apart),
            ]
        )
    heads = ["task", "mean", "standard deviation (points)", "range", "two runs", "3 seeds", "5 seeds", "20 seeds"]
    return table(heads, rows)


def published_gaps(folder: str, published: Mapping[str, Mapping[str, float]]) -> str:
    """Which pairs of published accuracies, in percent, seeds alone could have put as far apart."""
    rows = []
    for data in read(folder, "results.json")["data"]:
        least = 100 * TWO_RUNS * data["arms"][0]["noise_floor"]["spread"]
        gaps = [
            (abs(published[one][data["name"]] - published[other][data["name"]]), f"{one} and {other}")
            for one, other in combinations(published, 2)
        ]
        near = sorted(pair for gap, pair in gaps if gap <= least)
        said = "all" if len(near) == len(gaps) else ", ".join(near) or "none"
        rows.append([f"`{data['name']}`", f"{least:.1f}", f"{len(gaps) - len(near)} of {len(gaps)}", said])
    return table(["task", "two runs (points)", "pairs further apart", "pairs that are not"], rows)


def _one(data: Mapping[str, Any]) -> str:
    metric = data["metric"]
    rows = [
        [
            f"`{arm['pattern']}`",
            _mean(arm, metric),
            ", ".join(format_value(run[f"validation_{metric}"], metric) for run in arm["runs"]),
            _steps(arm),
            "n/a" if arm["lr"] is None else f"{arm['lr']:g}",
            count(arm["size"]["parameters"]),
            count(arm["size"]["training_flops"]),
            count(arm["size"]["state"]),
        ]
        if arm["size"]
        else [f"`{arm['pattern']}`", f"failed: {arm['error']}", *[""] * 6]
        for arm in data["arms"]
    ]
    heads = ["pattern", UNITS[metric], "by seed", "steps", "lr", "parameters", "FLOPs/token", "state"]
    guess = "" if data["guess"] is None else f" Guessing gives {format_value(data['guess'], 'accuracy')}."
    return f"`{data['name']}`: {data['verdict']}{guess}\n\n{table(heads, rows)}"


def _mean(arm: Mapping[str, Any], metric: Any) -> str:
    return format_estimate(Estimate(**arm["estimate"]) if arm["estimate"] else None, metric)


def _steps(arm: Mapping[str, Any]) -> str:
    steps = [run["steps"] for run in arm["runs"] if run["steps"]]
    if not steps:
        return "n/a"
    return f"{min(steps):,}" if min(steps) == max(steps) else f"{min(steps):,} to {max(steps):,}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
