"""What ``zoo train`` prints at its end, and the plan that it prints instead of training."""

import json as json_text
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.output import duration, print_json, print_lines
from zoo.plugin.stdout import stdout_to_stderr
from zoo.train.shell import quote

if TYPE_CHECKING:
    from zoo.train.settings import Settings
    from zoo.train.summary import Summary

_MAX_WIDTH = 40
"""Longer settings do not push the comments of the others to the right."""


def show_summary(summary: "Summary", *, json: bool) -> None:
    """The figures of the run, where to look, and what to type next."""
    if json:
        print_json(asdict(summary))
        return
    folder, run = Path(summary.run), quote(summary.run)
    figures = {
        "steps": f"{summary.steps:,} in {duration(summary.seconds)}, {_speed(summary)}",
        "model": f"{summary.mixer}, {summary.parameters:,} parameters",
    }
    places = {"curve": str(folder / "loss.png"), "report": str(folder / "report.html")}
    longer = f"zoo train --resume {run} --steps {2 * summary.steps}"
    if summary.writes_text:
        print_lines(figures | _on_text(summary), places, {"next": f"zoo generate {run}{_prompt(folder)}", "or": longer})
        return
    samples = {"samples": str(folder / "samples.txt")}
    quality = _on_task(summary) if summary.metric == "accuracy" else _on_masked(summary)
    print_lines(figures | quality, places | samples, {"next": longer})


def _speed(summary: "Summary") -> str:
    speed = f"{summary.tokens_per_second:,.0f} tokens/s"
    known = math.isfinite(summary.utilisation)
    return f"{speed}, {summary.utilisation:.0%} of the fastest matrix product" if known else speed


def _on_text(summary: "Summary") -> dict[str, str]:
    validation, training = f"{summary.validation_loss:.4f}", f"{summary.train_loss:.4f}"
    return {
        "loss": f"{validation} nats per token on validation text ({training} in training)",
        "": f"{summary.bits_per_byte:.4f} bits per byte",
        **_of_average(f"{summary.ema_validation_loss:.4f}", "nats per token", summary),
    }


def _on_masked(summary: "Summary") -> dict[str, str]:
    return {
        "loss": f"{summary.validation_loss:.4f} nats per masked token of validation text ({summary.train_loss:.4f} in "
        "training)",
        "": f"{summary.unigram_loss:.4f} is the unigram loss, of token frequencies alone",
        "accuracy": f"{summary.validation_accuracy:.1%} of the masked tokens",
        **_of_average(f"{summary.ema_validation_loss:.4f}", "nats per masked token", summary),
    }


def _on_task(summary: "Summary") -> dict[str, str]:
    at_lengths = [f"{share:.1%} at {length} tokens" for length, share in summary.accuracies["length"].items()][1:]
    return {
        "accuracy": ", ".join([f"{summary.validation_accuracy:.1%} (guessing gives {summary.guess:.1%})", *at_lengths]),
        "loss": f"{summary.validation_loss:.4f} nats per validation answer ({summary.train_loss:.4f} in training)",
        **_of_average(f"{summary.ema_validation_accuracy:.1%}", "accuracy", summary),
    }


def _of_average(figure: str, unit: str, summary: "Summary") -> dict[str, str]:
    return {} if math.isnan(summary.ema_validation_loss) else {"ema": f"{figure} {unit} of the averaged weights"}


def _prompt(run: Path) -> str:
    """What makes a model of Python write Python."""
    from zoo.train.run_directory import RunDirectory

    return " --prompt 'def '" if RunDirectory.open(run).config["data"] == "python-stdlib" else ""


def show_plan(settings: "Settings", *, json: bool) -> None:
    """The plan as JSON, or as a TOML file for --config whose comments tell the rest."""
    from zoo.train.plan import make_plan

    with stdout_to_stderr():  # a mixer may print when it is built
        plan = make_plan(settings)
    values, memory = plan.settings.model_dump(), asdict(plan.memory) | {"total": plan.memory.total}
    if json:
        counts = {"parameters": plan.parameters, "active_parameters": plan.active_parameters}
        print_json({"settings": values, **counts, "memory": memory})
        return
    fields = type(plan.settings).model_fields
    rows = [(_toml(name, value), f"# {fields[name].description}") for name, value in values.items()]
    width = max(len(line) for line, _ in rows if len(line) <= _MAX_WIDTH)
    for line, meaning in rows:
        print(f"{line:<{width}}  {meaning}")
    print()
    for name, text in _needs(plan.parameters, plan.active_parameters, memory).items():
        print(f"# {name:<12}{text}")


def _toml(name: str, value: Any) -> str:
    if value is None:
        return f'{name} = "none"'
    if isinstance(value, str | bool):
        return f"{name} = {json_text.dumps(value, ensure_ascii=False)}"
    return f"{name} = {value}"


def _needs(parameters: int, active: int, memory: Mapping[str, int]) -> dict[str, str]:
    used = "" if active == parameters else f", of which a token uses {active:,}"
    parts = ", ".join(f"{name} {_mebibytes(size)}" for name, size in memory.items() if name != "total")
    return {"parameters": f"{parameters:,}{used}", "memory": f"{_mebibytes(memory['total'])}: {parts}"}


def _mebibytes(size: int) -> str:
    mebibytes = size / 2**20
    return f"{mebibytes:,.{0 if mebibytes >= 10 else 1}f} MiB"
