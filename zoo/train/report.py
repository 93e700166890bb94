"""The report of a run that has ended."""

import math
from pathlib import Path
from typing import Any

from zoo.files.atomic import write_atomically
from zoo.files.logs import Sample
from zoo.pages.page import flat, markup, printable, render_page
from zoo.train.curve import curve_svg, draw_curve
from zoo.train.inspection import read_inspection
from zoo.train.run_directory import RunDirectory
from zoo.train.shell import quote
from zoo.train.summary import Summary, write_summary

_MAX_COLUMNS = 16


def finish(run: RunDirectory, summary: Summary) -> None:
    """Write what is left when a run has ended: metrics.csv, loss.png, report.html and summary.json.

    The summary comes last: a run that has one counts as finished, and nothing would write the rest after a kill.
    """
    run.write_metrics_csv()
    draw_curve(run.metrics(), run.path / "loss.png", title=summary.mixer, **curve_levels(summary))
    write_report(run, summary)
    write_summary(run.path, summary)


def write_report(run: RunDirectory, summary: Summary) -> Path:
    """Write report.html: one file that needs no other, no script and no network.

    It shows what ``zoo inspect`` has left in the run.

    Args:
        run: a run with its settings, environment and logs.
        summary: its figures.

    Raises:
        ZooError: the file cannot be written.
    """
    path = run.path / "report.html"
    samples = [Sample(step, printable(text)) for step, text in reversed(run.samples())]
    page = render_page(
        "zoo.train/report.html.j2",
        mixer=summary.mixer,
        name=run.path.name,
        figures=figures_of(summary),
        curve=markup(curve_svg(run.metrics(), title="", **curve_levels(summary))),
        task=run.config["data"] if summary.metric == "accuracy" else None,
        masked=math.isfinite(summary.unigram_loss),
        accuracies=_accuracies(summary),
        samples=samples,
        settings=list(flat(run.config)),
        environment=list(flat(run.environment)),
        inspection=read_inspection(run.path),
        svg=markup,
        events=run.events(),
        reproduce=f"zoo train --config {quote(str(run.path / 'config.json'))}",
        next_commands=_next_commands(run.path, summary),
    )
    write_atomically(path, page)
    return path


def format_duration(seconds: float) -> str:
    """A time for people: ``8.2 s``, ``1 min 52 s``, ``3 h 05 min``."""
    if not math.isfinite(seconds):
        return "n/a"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def figures_of(summary: Summary) -> list[tuple[str, str, str]]:
    """The figures of a run to show: what, how much, in which unit."""
    unigram = f"; the unigram loss is {summary.unigram_loss:.4f}" if math.isfinite(summary.unigram_loss) else ""
    return [
        ("validation loss", _number(summary.validation_loss, ".4f"), summary.unit + unigram),
        _quality(summary),
        *_average(summary),
        ("training loss", _number(summary.train_loss, ".4f"), summary.unit),
        ("size", _number(summary.parameters, ",d"), "parameters"),
        ("length", _number(summary.steps, ",d"), "steps"),
        ("speed", _number(summary.tokens_per_second, ",.0f"), "tokens per second"),
        *_utilisation(summary),
        ("time", format_duration(summary.seconds), ""),
    ]


def _utilisation(summary: Summary) -> list[tuple[str, str, str]]:
    if not math.isfinite(summary.utilisation):
        return []
    return [("utilisation", f"{summary.utilisation:.0%}", "of the machine's fastest matrix product")]


def _quality(summary: Summary) -> tuple[str, str, str]:
    accuracy = _number(summary.validation_accuracy, ".1%")
    if summary.metric == "accuracy":
        guess = f"; guessing gives {summary.guess:.1%}" if math.isfinite(summary.guess) else ""
        return "accuracy", accuracy, f"of validation targets{guess}"
    if math.isfinite(summary.unigram_loss):
        return "accuracy", accuracy, "of the masked tokens"
    return "compression", _number(summary.bits_per_byte, ".3f"), "bits per byte"


def _average(summary: Summary) -> list[tuple[str, str, str]]:
    if not math.isfinite(summary.ema_validation_loss):
        return []
    if summary.metric == "accuracy":
        return [("averaged weights", _number(summary.ema_validation_accuracy, ".1%"), "of validation targets")]
    return [("averaged weights", _number(summary.ema_validation_loss, ".4f"), f"{summary.unit} on validation data")]


def curve_levels(summary: Summary) -> dict[str, Any]:
    """What the curve shows beside the losses, as `zoo.train.curve.draw_curve` names it."""
    levels = {"guess": summary.guess, "unigram": summary.unigram_loss}
    known = {name: level if math.isfinite(level) else None for name, level in levels.items()}
    return {"unit": summary.unit, "accuracy": summary.metric == "accuracy", **known}


def _accuracies(summary: Summary) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """What the accuracy is broken down by: value, accuracy, and what guessing gives; of many values some, evenly."""
    tables = []
    for name, shares in summary.accuracies.items():
        levels = summary.guess_levels.get(name, {})
        rows = [(value, _number(share, ".1%"), _number(levels.get(value), ".1%")) for value, share in shares.items()]
        step = -(-len(rows) // _MAX_COLUMNS)
        tables.append((name, rows[step - 1 :: step]))
    return tables


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None or not math.isfinite(value) else format(value, form)


def _next_commands(path: Path, summary: Summary) -> list[tuple[str, str]]:
    run, other = quote(str(path)), "dot-product" if summary.mixer != "dot-product" else "correlation"
    config = quote(str(path / "config.json"))
    write = [("Let it write", f"zoo generate {run} --tokens 300")] if summary.writes_text else []
    return [
        *write,
        ("Train it longer", f"zoo train --resume {run} --steps {2 * summary.steps}"),
        ("Train another mixer the same way", f"zoo train --config {config} --mixer {other}"),
    ]
