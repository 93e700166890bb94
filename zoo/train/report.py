"""The page that a person opens when a run has ended."""

import math
import re
import shlex
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from zoo.train.curve import curve_svg, draw_curve
from zoo.train.durable import write_atomically
from zoo.train.inspection import read_inspection
from zoo.train.logs import Sample
from zoo.train.run_directory import RunDirectory

# What HTML has no way to write: control characters, lone surrogates and the like.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def finish(run: RunDirectory, *, summary: Mapping[str, Any]) -> None:
    """Write what is left when a run has ended: summary.json, metrics.csv, loss.png and report.html.

    Args:
        run: as for `write_report`.
        summary: as for `write_report`.
    """
    run.write_summary(summary)
    run.write_metrics_csv()
    draw_curve(run.metrics(), run.path / "loss.png", title=summary["mixer"])
    write_report(run, summary=summary)


def write_report(run: RunDirectory, *, summary: Mapping[str, Any]) -> Path:
    """Write report.html: one file that needs no other, no script and no network.

    It shows what ``zoo inspect`` has left in the run.

    Args:
        run: a run with its settings, environment and logs.
        summary: its figures: ``run``, ``mixer``, ``parameters``, ``steps``, ``train_loss``, ``validation_loss``
            (nats per token), ``bits_per_byte``, ``tokens_per_second``, ``seconds``.

    Raises:
        ZooError: the file cannot be written.
    """
    path = run.path / "report.html"
    samples = [Sample(step, _printable(text)) for step, text in reversed(run.samples())]
    page = _template().render(
        mixer=summary["mixer"],
        name=run.path.name,
        figures=_figures(summary),
        curve=_markup(curve_svg(run.metrics(), title="")),
        samples=samples,
        inspection=read_inspection(run.path),
        svg=_markup,
        settings=list(_flat(run.config)),
        environment=list(_flat(run.environment)),
        events=run.events(),
        reproduce=f"zoo train --config {shlex.quote(str(run.path / 'config.json'))}",
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
    return [
        ("validation loss", _number(summary["validation_loss"], ".4f"), "nats per token"),
        ("compression", _number(summary["bits_per_byte"], ".3f"), "bits per byte"),
        ("training loss", _number(summary["train_loss"], ".4f"), "nats per token"),
        ("size", _number(summary["parameters"], ",d"), "parameters"),
        ("length", _number(summary["steps"], ",d"), "steps"),
        ("speed", _number(summary["tokens_per_second"], ",.0f"), "tokens per second"),
        ("time", format_duration(summary["seconds"]), ""),
    ]


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None or not math.isfinite(value) else format(value, form)


def _next_commands(path: Path, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    run, steps = shlex.quote(str(path)), summary["steps"]
    other = "dot-product" if summary["mixer"] != "dot-product" else "correlation"
    config = shlex.quote(str(path / "config.json"))
    return [
        ("Let it write", f"zoo generate {run} --tokens 300"),
        ("Train it longer", f"zoo train --resume {run} --steps {2 * steps}"),
        ("Train another mixer the same way", f"zoo train --config {config} --mixer {other}"),
    ]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values, those of tables within the table too."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == {}:
        return "none"
    return _printable(str(value))


def _printable(text: str) -> str:
    """The text with its control characters as the signs that Unicode has for them."""
    text = text.replace("\r\n", "\n")
    return _UNPRINTABLE.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", text)


def _markup(trusted: str) -> Any:
    from markupsafe import Markup

    return Markup(trusted)


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    source = (resources.files("zoo.train") / "report.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)
