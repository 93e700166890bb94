"""``zoo plan``: what a run on many GPUs would take, without any of them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import with_file_names
from zoo.cli.output import print_json, print_lines, print_table, say
from zoo.errors import UsageError
from zoo.plugin.stdout import stdout_to_stderr
from zoo.train.shell import join

if TYPE_CHECKING:
    from zoo.lab.scale.layout import Layout
    from zoo.lab.scale.plan import ScalePlan
    from zoo.train.settings import Settings

_GIGA = 1e9


def plan(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Pattern of token mixers, or a hybrid.")],
    *,
    params: Annotated[str | None, typer.Option(metavar="N", help="Parameters, e.g. 7e9; shape follows.")] = None,
    dim: Annotated[int | None, typer.Option(metavar="N", help="Width, in place of --params.")] = None,
    layers: Annotated[int | None, typer.Option(metavar="N", help="Depth, with --dim.")] = None,
    head_size: Annotated[int, typer.Option(metavar="N", help="Channels of a head.")] = 128,
    context: Annotated[int, typer.Option(metavar="N", help="Tokens in a training sequence.")] = 4096,
    vocab_size: Annotated[int, typer.Option(metavar="N", help="Tokens that there are.")] = 50304,
    channel_mixer: Annotated[str, typer.Option(metavar="NAME", help="swiglu, mlp or none.")] = "swiglu",
    optimizer: Annotated[str, typer.Option(metavar="NAME", help="adamw, lion, muon or sgd.")] = "adamw",
    tokens: Annotated[str, typer.Option(metavar="N", help="Tokens of the whole run, e.g. 1e12.")] = "1e12",
    step_tokens: Annotated[str, typer.Option(metavar="N", help="Tokens in a step, about.")] = "4e6",
    gpus: Annotated[int, typer.Option(metavar="N", help="How many GPUs.")] = 8,
    gpu: Annotated[str, typer.Option(metavar="NAME", help="Which: a100, h100, h200, b200, mi300x …")] = "h100",
    utilization: Annotated[float, typer.Option(metavar="X", help="The part of their speed that is reached.")] = 0.4,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Plan a run on many GPUs: its size, memory and days.

    The model is built and run on tensors without memory, so that operations and activations are counted and not
    guessed, however large it is. Each way to lay it out is shown with what a GPU then holds, and the first that fits
    as a command. Example:

    zoo plan 'gated-deltanet*3, dot-product' --params 7e9 --tokens 1e12 --gpus 256
    """
    from zoo.lab.scale.gpu import find_gpu
    from zoo.lab.scale.plan import make_scale_plan

    card = find_gpu(gpu)
    with stdout_to_stderr():  # a mixer may print when it is built
        settings = _shaped(pattern, params, dim, layers, head_size, vocab_size, context, channel_mixer, optimizer)
        made = make_scale_plan(
            settings,
            vocab_size=vocab_size,
            gpu=card,
            gpus=gpus,
            tokens=_number("tokens", tokens),
            step_tokens=_number("step_tokens", step_tokens),
            utilization=utilization,
        )
    if json:
        print_json(_as_json(made))
    else:
        _show(made)
    if made.best is None:
        say(f"none of them fits {gpus} of these: take more, or others, a shorter --context, or a smaller model")


def _shaped(  # noqa: PLR0917 - as the command line names them
    pattern: str,
    params: str | None,
    dim: int | None,
    layers: int | None,
    head_size: int,
    vocab_size: int,
    context: int,
    channel_mixer: str,
    optimizer: str,
) -> "Settings":
    """The settings of the model: of a given width and depth, or of a number of parameters."""
    from zoo.lab.scale.shape import choose_shape
    from zoo.train.machine import resolve_auto
    from zoo.train.optimizer import check_optimizer
    from zoo.train.settings import validate

    if (not params) == (dim is None):
        raise UsageError("say how large the model is: either `params`, e.g. 7e9, or `dim` and `layers`")
    if params and layers is not None:
        raise UsageError("`layers` goes with `dim`; with `params` the depth follows from the width")
    if head_size < 1 or vocab_size < 1:
        raise UsageError("`head_size` and `vocab_size` should be 1 or more")
    width = dim or head_size
    if width % head_size:
        raise UsageError(f"`dim`={width} is no multiple of `head_size`={head_size}")
    settings = validate(
        {
            "mixer": with_file_names(pattern),
            "channel_mixer": with_file_names(channel_mixer),
            "optimizer": optimizer,
            "layers": layers,
            "dim": width,
            "heads": width // head_size,
            "context": context,
            "batch": 1,
            "device": "cpu",
            "precision": "bf16",
            "threads": 1,
        }
    )
    settings = resolve_auto(settings)
    check_optimizer(settings)
    if params:
        return choose_shape(settings, vocab_size, _number("params", params), head_size)
    depth = settings.layers or len(settings.pattern.layers())
    return settings.model_copy(update={"layers": depth})


def _number(name: str, text: str) -> float:
    try:
        return float(text.replace(",", "").replace("_", ""))
    except ValueError:
        raise UsageError(f"`{name}`={text} should be a number, e.g. 7e9") from None


def _show(made: "ScalePlan") -> None:
    settings, costs, best = made.settings, made.costs, made.best
    used = "" if costs.active_parameters == costs.parameters else f", {_short(costs.active_parameters)} used by a token"
    print_lines(
        {
            "model": f"{settings.mixer}: width {settings.dim:,}, {settings.layers} layers, {settings.heads} heads, "
            f"context {settings.context:,}, {made.vocab_size:,} tokens",
            "": f"{_short(costs.parameters)} parameters{used}; {costs.forward_flops / _GIGA:,.3g} GFLOPs a token "
            f"forward, {costs.training_flops / _GIGA:,.3g} in training",
            "run": f"{_short(made.tokens)} tokens on {made.gpus:,} {made.gpu.name} at {made.utilization:.0%} of "
            f"{made.gpu.flops / 1e12:,.0f} TFLOP/s",
            "a GPU": f"{made.gpu.memory / _GIGA:,.0f} GB, of which tensors may take 90 %; in GB:",
        }
    )
    print()
    print_table(_COLUMNS, [_row(made, layout) for layout in made.layouts])
    if best is not None:
        print_lines({"take": _command(made, best)})


_COLUMNS = (
    "engine",
    "checkpointing",
    "batch",
    "accumulate",
    "parameters",
    "gradients",
    "optimizer",
    "activations",
    "peak",
    "fits",
    "steps",
    "days",
)


def _row(made: "ScalePlan", layout: "Layout") -> list[str]:
    sizes = (layout.parameters, layout.gradients, layout.optimizer, layout.activations, layout.peak)
    return [
        layout.engine,
        "yes" if layout.checkpointing else "no",
        f"{layout.batch:,}",
        f"{layout.accumulate:,}",
        *(f"{size / _GIGA:,.1f}" for size in sizes),
        "yes" if layout.fits else "no",
        f"{made.steps(layout):,}",
        f"{made.days(layout):,.1f}",
    ]


def _command(made: "ScalePlan", layout: "Layout") -> str:
    """What each machine of eight GPUs is to run."""
    settings = made.settings
    words = ["-m", "zoo", "train", "--mixer", settings.mixer, "--channel-mixer", settings.channel_mixer]
    words += ["--layers", str(settings.layers), "--dim", str(settings.dim), "--heads", str(settings.heads)]
    words += ["--context", str(settings.context), "--batch", str(layout.batch), "--steps", str(made.steps(layout))]
    words += ["--optimizer", settings.optimizer, "--precision", "bf16", "--set", f"accumulate={layout.accumulate}"]
    words += ["--set", f"engine={layout.engine}"] if made.gpus > 1 else []
    words += ["--set", "activation_checkpointing=true"] if layout.checkpointing else []
    if made.gpus == 1:
        return join(["python", *words])
    each = next(count for count in range(8, 0, -1) if made.gpus % count == 0)
    several = ["--nnodes", str(made.gpus // each)] if made.gpus > each else []
    return join(["torchrun", *several, "--nproc-per-node", str(each), *words])


def _as_json(made: "ScalePlan") -> dict[str, Any]:
    layouts = [asdict(layout) | {"days": made.days(layout), "steps": made.steps(layout)} for layout in made.layouts]
    best = None if made.best is None else made.layouts.index(made.best)
    return {
        "settings": made.settings.model_dump(),
        "vocab_size": made.vocab_size,
        "costs": asdict(made.costs),
        "gpu": made.gpu._asdict(),
        "gpus": made.gpus,
        "tokens": made.tokens,
        "step_tokens": made.step_tokens,
        "utilization": made.utilization,
        "layouts": layouts,
        "best": best,
    }


def _short(number: float) -> str:
    """A large number as it is spoken of: 7.05B."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
