"""The report of a run that has ended."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.data.objective import Masked, NextToken
from zoo.files.atomic import write_atomically
from zoo.files.logs import Sample
from zoo.pages.page import flat, markup, printable, render_page
from zoo.train.curve import curve_svg, draw_curve
from zoo.train.inspection import read_inspection
from zoo.train.run_directory import RunDirectory
from zoo.train.shell import quote

_MAX_COLUMNS = 16


def finish(run: RunDirectory, *, summary: Mapping[str, Any]) -> None:
    """Write what is left when a run has ended: summary.json, metrics.csv, loss.png and report.html.

    Args:
        run: as for `write_report`.
        summary: as for `write_report`.
    """
    run.write_summary(summary)
    run.write_metrics_csv()
    draw_curve(run.metrics(), run.path / "loss.png", title=summary["mixer"], **_levels(summary))
    write_report(run, summary=summary)


def write_report(run: RunDirectory, *, summary: Mapping[str, Any]) -> Path:
    """Write report.html: one file that needs no other, no script and no network.

    It shows what ``zoo inspect`` has left in the run.

    Args:
        run: a run with its settings, environment and logs.
        summary: its figures, those of `zoo.train.session.Summary`.

    Raises:
        ZooError: the file cannot be written.
    """
    path = run.path / "report.html"
    samples = [Sample(step, printable(text)) for step, text in reversed(run.samples())]
    page = render_page(
        "zoo.train/report.html.j2",
        mixer=summary["mixer"],
        name=run.path.name,
        figures=_figures(summary),
        curve=markup(curve_svg(run.metrics(), title="", **_levels(summary))),
        task=run.config["data"] if _is_task(summary) else None,
        masked=_unigram_loss(summary) is not None,
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


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What, how much, in which unit."""
    per, unigram = _unit(summary), _unigram_loss(summary)
    beside = f"; the unigram loss is {unigram:.4f}" if unigram is not None else ""
    if unigram is not None:
        quality = ("accuracy", _number(summary["validation_accuracy"], ".1%"), "of the masked tokens")
    elif _is_task(summary):
        guess = f"; guessing gives {_number(_guess(summary), '.1%')}" if _guess(summary) is not None else ""
        quality = ("accuracy", _number(summary["validation_accuracy"], ".1%"), f"of validation targets{guess}")
    else:
        quality = ("compression", _number(summary["bits_per_byte"], ".3f"), "bits per byte")
    return [
        ("validation loss", _number(summary["validation_loss"], ".4f"), per + beside),
        quality,
        ("training loss", _number(summary["train_loss"], ".4f"), per),
        ("size", _number(summary["parameters"], ",d"), "parameters"),
        ("length", _number(summary["steps"], ",d"), "steps"),
        ("speed", _number(summary["tokens_per_second"], ",.0f"), "tokens per second"),
        ("time", format_duration(summary["seconds"]), ""),
    ]


def _is_task(summary: Mapping[str, Any]) -> bool:
    return bool(summary.get("accuracies"))


def _unit(summary: Mapping[str, Any]) -> str:
    if _is_task(summary):
        return "nats per answer"
    return (NextToken if _unigram_loss(summary) is None else Masked).unit


def _unigram_loss(summary: Mapping[str, Any]) -> float | None:
    """The loss that token frequencies alone give on masked tokens; None for every other objective."""
    loss = summary.get("unigram_loss")
    return loss if loss is not None and math.isfinite(loss) else None


def _levels(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the curve shows beside the losses."""
    task, unigram = _is_task(summary), _unigram_loss(summary)
    return {"unit": _unit(summary), "accuracy": task, "guess": _guess(summary), "unigram": unigram}


def _guess(summary: Mapping[str, Any]) -> float | None:
    """The accuracy that guessing gives at the training length; None for a text, and where it was not measured."""
    levels = (summary.get("guess_levels") or {}).get("length") or {}
    return next(iter(levels.values()), None)


def _accuracies(summary: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """What the accuracy is broken down by: value, accuracy, and what guessing gives; of many values some, evenly."""
    tables = []
    for name, shares in (summary.get("accuracies") or {}).items():
        levels = (summary.get("guess_levels") or {}).get(name, {})
        rows = [(value, _number(share, ".1%"), _number(levels.get(value), ".1%")) for value, share in shares.items()]
        step = -(-len(rows) // _MAX_COLUMNS)
        tables.append((name, rows[step - 1 :: step]))
    return tables


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None or not math.isfinite(value) else format(value, form)


def _next_commands(path: Path, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    run, steps = quote(str(path)), summary["steps"]
    other = "dot-product" if summary["mixer"] != "dot-product" else "correlation"
    config = quote(str(path / "config.json"))
    writes = not _is_task(summary) and _unigram_loss(summary) is None
    write = [] if not writes else [("Let it write", f"zoo generate {run} --tokens 300")]
    return [
        *write,
        ("Train it longer", f"zoo train --resume {run} --steps {2 * steps}"),
        ("Train another mixer the same way", f"zoo train --config {config} --mixer {other}"),
    ]
