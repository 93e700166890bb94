"""``zoo train``: train a model, resume a run, or say what a run would need."""

import json as json_text
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import AllowChanged, with_file_names
from zoo.cli.help import Command, write_section
from zoo.cli.latest import folder_argument, resolve_latest
from zoo.cli.output import INTERRUPTED, duration, print_json, print_lines, say
from zoo.cli.parameters import given_flags
from zoo.errors import UsageError
from zoo.plugin.stdout import stdout_to_stderr
from zoo.train.shell import quote

if TYPE_CHECKING:
    from zoo.train.settings import Settings
    from zoo.train.summary import Summary

RUNS = Path("runs")
"""Where run directories go, seen from where the command is given."""

_MAX_WIDTH = 40
"""Longer settings do not push the comments of the others to the right."""

_Model = partial(typer.Option, rich_help_panel="Model")
_Data = partial(typer.Option, rich_help_panel="Data")
_Training = partial(typer.Option, rich_help_panel="Training")
_Machine = partial(typer.Option, rich_help_panel="Machine")
_Settings = partial(typer.Option, rich_help_panel="All settings")
_Run = partial(typer.Option, rich_help_panel="Run")


class TrainCommand(Command):
    """The command, whose help lists the presets and the defaults; only the help waits for reading them."""

    def defaults(self) -> dict[str, Any]:
        """What the default preset gives for each flag."""
        from zoo.train.resolve import resolve

        return resolve().model_dump()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, the presets, and examples."""
        from zoo.train.resolve import DEFAULT_PRESET, TASK_PRESET, list_presets

        super().format_help(ctx, formatter)
        write_section(
            formatter,
            f"Presets ({DEFAULT_PRESET} by default, its values stand in brackets; {TASK_PRESET} for tasks)",
            list(list_presets().items()),
        )
        formatter.write(_CLOSING)


_CLOSING = """
All settings, and what they mean:
  zoo train --dry-run

Examples:
  zoo train
  zoo train --mixer 'correlation*3, dot-product(window=64)' --steps 500
  zoo train --mixer involution --data texts/ --set dropout=0.1 --set lr_final=0
  zoo train --preset nanogpt-cpu --data shakespeare
  zoo train --data 'mqar(pairs=8, length=128)'
  zoo train --objective masked
  zoo train --resume runs/20250131-… --steps 2000
"""


def train(
    command: typer.Context,
    *,
    mixer: Annotated[str | None, _Model(metavar="PATTERN", help="Pattern of token mixers.")] = None,
    channel_mixer: Annotated[str | None, _Model(metavar="NAME", help="swiglu, mlp or none.")] = None,
    residual: Annotated[str | None, _Model(metavar="NAME", help="How the parts share the stream.")] = None,
    layers: Annotated[int | None, _Model(metavar="N", help="The pattern is cycled to so many layers.")] = None,
    dim: Annotated[int | None, _Model(metavar="N", help="Width of the residual stream.")] = None,
    heads: Annotated[int | None, _Model(metavar="N", help="For the mixers that set none.")] = None,
    context: Annotated[int | None, _Model(metavar="N", help="Tokens in a training sequence.")] = None,
    data: Annotated[str | None, _Data(metavar="WHAT", help="A corpus, a path to text, or a task.")] = None,
    tokenizer: Annotated[str | None, _Data(metavar="NAME", help="Of a text: byte, char, bpe(vocab_size=…).")] = None,
    documents: Annotated[str | None, _Data(metavar="NAME", help="Files of a text: joined or separate.")] = None,
    objective: Annotated[str | None, _Data(metavar="NAME", help="Of a text: next-token or masked.")] = None,
    batch: Annotated[int | None, _Training(metavar="N", help="Sequences in a micro-batch.")] = None,
    steps: Annotated[int | None, _Training(metavar="N", help="Updates of the parameters.")] = None,
    lr: Annotated[float | None, _Training(metavar="X", help="Highest learning rate.")] = None,
    optimizer: Annotated[str | None, _Training(metavar="NAME", help="adamw, lion, muon or sgd, with options.")] = None,
    seed: Annotated[int | None, _Training(metavar="N", help="Of the parameters, the batches and the dropout.")] = None,
    max_time: Annotated[str | None, _Training(metavar="TIME", help="Stop after so long: 90s, 2m, 1h.")] = None,
    device: Annotated[str | None, _Machine(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, _Machine(metavar="NAME", help="auto, fp32 or bf16.")] = None,
    compile_model: Annotated[bool, _Machine("--compile", help="torch.compile the model.")] = False,
    preset: Annotated[str | None, _Settings(metavar="NAME", help="Where the settings start from, see below.")] = None,
    config: Annotated[Path | None, _Settings(metavar="FILE", help="A TOML file of settings, over the preset.")] = None,
    assignments: Annotated[
        list[str] | None, _Settings("--set", metavar="KEY=VALUE", help="One setting, over the file. Repeatable.")
    ] = None,
    out: Annotated[Path | None, _Run(metavar="DIR", help="The run's folder, new. [runs/<time>-…]")] = None,
    resume: Annotated[
        Path | None,
        _Run(metavar="RUN", parser=folder_argument, help="Resume a run, or latest; alone or with --steps, --data."),
    ] = None,
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    dry_run: Annotated[bool, _Run("--dry-run", help="Show settings, parameters and memory. Train nothing.")] = False,
    json: Annotated[bool, _Run("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Train a model of a pattern of token mixers, on a text or task."""
    if resume is not None:
        _refuse_beside_resume(command)
        _report(_resume(latest_run(resume), steps, data), json=json)
        return
    from zoo.train.resolve import resolve

    flags = {
        "mixer": with_file_names(mixer) if mixer else mixer,
        "channel_mixer": with_file_names(channel_mixer) if channel_mixer else channel_mixer,
        "residual": residual,
        "layers": layers,
        "dim": dim,
        "heads": heads,
        "context": context,
        "data": data,
        "tokenizer": tokenizer,
        "documents": documents,
        "objective": objective,
        "batch": batch,
        "steps": steps,
        "lr": lr,
        "optimizer": optimizer,
        "seed": seed,
        "max_time": max_time,
        "device": device,
        "precision": precision,
        "compile": compile_model or None,
    }
    settings = resolve(preset=preset, file=config, assignments=assignments or (), flags=flags)
    if dry_run:
        _show_plan(settings, json=json)
    else:
        _report(_start(settings, out), json=json)


def latest_run(path: Path) -> Path:
    """The folder of a run that was asked for, perhaps as ``latest``."""
    return resolve_latest(path, RUNS, sign="config.json", what="run")


def _refuse_beside_resume(command: typer.Context) -> None:
    given = given_flags(command, but={"resume", "steps", "data", "allow_changed", "json"})
    if given:
        raise UsageError(
            f"--resume goes on with the settings of the run: leave out {', '.join(given)}; only --steps may change, "
            "and --data where the text was moved"
        )


def _start(settings: "Settings", out: Path | None) -> "Summary":
    from zoo.train.session import start

    return _watched(partial(start, settings, root=RUNS, out=out))


def _resume(run: Path, steps: int | None, data: str | None) -> "Summary":
    from zoo.train.session import resume

    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps} should be 1 or more")
    return _watched(partial(resume, run, steps=steps, data=data))


def _watched(session: "Callable[..., Summary]") -> "Summary":
    """Run a session before the eyes of the user, who may stop it."""
    from zoo.cli.progress import live_display
    from zoo.train.session import Interrupted

    try:
        with live_display() as listener:
            return session(listener=listener)
    except Interrupted as stop:
        say(str(stop))
        raise typer.Exit(INTERRUPTED) from None


def _report(summary: "Summary", *, json: bool) -> None:
    """The figures of the run, where to look, and what to type next."""
    if json:
        print_json(asdict(summary))
        return
    folder, run = Path(summary.run), quote(summary.run)
    figures = {
        "steps": f"{summary.steps:,} in {duration(summary.seconds)}, {summary.tokens_per_second:,.0f} tokens/s",
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


def _on_text(summary: "Summary") -> dict[str, str]:
    validation, training = f"{summary.validation_loss:.4f}", f"{summary.train_loss:.4f}"
    return {
        "loss": f"{validation} nats per token on validation text ({training} in training)",
        "": f"{summary.bits_per_byte:.4f} bits per byte",
    }


def _on_masked(summary: "Summary") -> dict[str, str]:
    return {
        "loss": f"{summary.validation_loss:.4f} nats per masked token of validation text ({summary.train_loss:.4f} in "
        "training)",
        "": f"{summary.unigram_loss:.4f} is the unigram loss, of token frequencies alone",
        "accuracy": f"{summary.validation_accuracy:.1%} of the masked tokens",
    }


def _on_task(summary: "Summary") -> dict[str, str]:
    at_lengths = [f"{share:.1%} at {length} tokens" for length, share in summary.accuracies["length"].items()][1:]
    return {
        "accuracy": ", ".join([f"{summary.validation_accuracy:.1%} (guessing gives {summary.guess:.1%})", *at_lengths]),
        "loss": f"{summary.validation_loss:.4f} nats per validation answer ({summary.train_loss:.4f} in training)",
    }


def _prompt(run: Path) -> str:
    """What makes a model of Python write Python."""
    from zoo.train.run_directory import RunDirectory

    return " --prompt 'def '" if RunDirectory.open(run).config["data"] == "python-stdlib" else ""


def _show_plan(settings: "Settings", *, json: bool) -> None:
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
