"""``zoo train``: train a model, resume a run, or say what a run would need."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import AllowChanged, with_file_names
from zoo.cli.help import Command, write_section
from zoo.cli.latest import folder_argument, resolve_latest
from zoo.cli.output import INTERRUPTED, say
from zoo.cli.parameters import given_flags
from zoo.cli.train_display import show_plan, show_summary
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.train.engine.ranks import Ranks
    from zoo.train.listener import Listener
    from zoo.train.settings import Settings
    from zoo.train.summary import Summary

RUNS = Path("runs")
"""Where run directories go, seen from where the command is given."""

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


_NOT_BESIDE_FROM = {"--preset", "--config"}

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
  zoo train --from runs/20250131-… --data other.txt --lr 1e-4
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
    compile_model: Annotated[
        bool | None,
        _Machine("--compile/--no-compile", help="torch.compile the model, or --no-compile. [if a long run gains]"),
    ] = None,
    preset: Annotated[str | None, _Settings(metavar="NAME", help="Where the settings start from, see below.")] = None,
    config: Annotated[Path | None, _Settings(metavar="FILE", help="A TOML file of settings, over the preset.")] = None,
    assignments: Annotated[
        list[str] | None, _Settings("--set", metavar="KEY=VALUE", help="One setting, over the file. Repeatable.")
    ] = None,
    origin: Annotated[
        Path | None,
        _Run("--from", metavar="RUN", parser=folder_argument, help="Start from the weights of a run, or of latest."),
    ] = None,
    out: Annotated[Path | None, _Run(metavar="DIR", help="The run's folder, new. [runs/<time>-…]")] = None,
    resume: Annotated[
        Path | None,
        _Run(metavar="RUN", parser=folder_argument, help="Resume a run, or latest; alone or with --steps, --data."),
    ] = None,
    continuing: Annotated[bool, _Run("--continue", help="Resume the run in --out, or start it there.")] = False,
    report: Annotated[
        str | None, _Run(metavar="NAMES", help="Reporters, e.g. tensorboard, wandb; none for none.")
    ] = None,
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    dry_run: Annotated[bool, _Run("--dry-run", help="Show settings, parameters and memory. Train nothing.")] = False,
    json: Annotated[bool, _Run("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Train a model of a pattern of token mixers, on a text or task."""
    if resume is not None:
        _refuse_beside_resume(command)
        _watched(partial(_resume, resume, steps, data, report), json=json)
        return
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
        "compile": compile_model,
    }
    resolved = partial(_resolve, preset=preset, file=config, assignments=assignments or (), flags=flags)
    if origin is not None:
        _refuse_beside_from(command)
        if dry_run:
            show_plan(_settings_from(origin, assignments or (), flags), json=json)
            return
        resumed = _named(out) if continuing else None
        _watched(partial(_start_from, origin, assignments or (), flags, out, resumed, report), json=json)
    elif dry_run:
        show_plan(resolved(), json=json)
    elif continuing:
        _watched(partial(_start_or_resume, resolved, _named(out), report), json=json)
    else:
        _watched(partial(_start, resolved, out, report), json=json)


def latest_run(path: Path) -> Path:
    """The folder of a run that was asked for, perhaps as ``latest``."""
    return resolve_latest(path, RUNS, sign="config.json", what="run")


def _refuse_beside_resume(command: typer.Context) -> None:
    given = given_flags(command, but={"resume", "steps", "data", "report", "allow_changed", "json"})
    if given:
        raise UsageError(
            f"--resume goes on with the settings of the run: leave out {', '.join(given)}; only --steps and --report "
            "may change, and --data where the text was moved"
        )


def _refuse_beside_from(command: typer.Context) -> None:
    given = [flag for flag in given_flags(command, but=()) if flag in _NOT_BESIDE_FROM]
    if given:
        raise UsageError(f"--from starts with the settings of the run: leave out {', '.join(given)}")


def _resolve(**given: Any) -> "Settings":
    from zoo.train.resolve import resolve  # and with it pydantic, for which the help does not wait

    return resolve(**given)


def _watched(session: "Callable[[Ranks, Listener], Summary]", *, json: bool) -> None:
    """Run a session before the eyes of the user, who may stop it. Of many processes one speaks."""
    from zoo.cli.progress import live_display
    from zoo.train.engine.process_group import joined
    from zoo.train.listener import Listener
    from zoo.train.session import Interrupted

    with joined() as ranks:
        try:
            with live_display() if ranks.is_first else nullcontext(Listener()) as listener:
                summary = session(ranks, listener)
        except Interrupted as stop:
            if ranks.is_first:
                say(str(stop))
            raise typer.Exit(INTERRUPTED) from None
        if ranks.is_first:
            show_summary(summary, json=json)


def _start(
    resolved: "Callable[[], Settings]", out: Path | None, report: str | None, ranks: "Ranks", listener: "Listener"
) -> "Summary":
    from zoo.train.session import start

    with ranks.together():
        settings = resolved()
    return start(settings, root=RUNS, out=out, listener=listener, ranks=ranks, report=report)


def _settings_from(path: Path, assignments: Sequence[str], flags: Mapping[str, Any]) -> "Settings":
    from zoo.train.finetune import settings_from

    return settings_from(latest_run(path), assignments, flags)


def _start_from(  # noqa: PLR0917 - what is given, and what it is given to
    path: Path,
    assignments: Sequence[str],
    flags: Mapping[str, Any],
    out: Path | None,
    resumed: Path | None,
    report: str | None,
    ranks: "Ranks",
    listener: "Listener",
) -> "Summary":
    from zoo.plugin.registry import get_registry
    from zoo.train.continuing import start_or_resume
    from zoo.train.finetune import read_origin, settings_from
    from zoo.train.session import start

    path = ranks.first(partial(latest_run, path))
    with ranks.together():
        settings, origin = settings_from(path, assignments, flags), read_origin(path, get_registry())
    for notice in origin.notices:
        listener.notice(notice)
    how: dict[str, Any] = {"listener": listener, "ranks": ranks, "report": report, "origin": origin}
    return start_or_resume(settings, resumed, **how) if resumed else start(settings, root=RUNS, out=out, **how)


def _resume(  # noqa: PLR0917 - what is given, and what it is given to
    run: Path, steps: int | None, data: str | None, report: str | None, ranks: "Ranks", listener: "Listener"
) -> "Summary":
    from zoo.train.session import resume

    with ranks.together():
        if steps is not None and steps < 1:
            raise UsageError(f"--steps {steps} should be 1 or more")
    run = ranks.first(partial(latest_run, run))
    return resume(run, steps=steps, data=data, listener=listener, ranks=ranks, report=report)


def _start_or_resume(
    resolved: "Callable[[], Settings]", out: Path, report: str | None, ranks: "Ranks", listener: "Listener"
) -> "Summary":
    from zoo.train.continuing import start_or_resume

    with ranks.together():
        settings = resolved()
    return start_or_resume(settings, out, listener=listener, ranks=ranks, report=report)


def _named(out: Path | None) -> Path:
    if out is None:
        raise UsageError("--continue goes on with the run in a folder: name it with --out")
    return out
