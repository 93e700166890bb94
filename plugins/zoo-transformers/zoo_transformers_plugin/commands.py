"""``zoo export`` and ``zoo import``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import zoo
from zoo.cli.files import AllowChanged
from zoo.cli.latest import folder_argument
from zoo.cli.output import say, warn


def export(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=folder_argument, help="The folder of a run, or latest.")],
    to: Annotated[Literal["hf"], typer.Option(metavar="FORMAT", help="hf: Hugging Face transformers.")] = "hf",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder to write, not there yet.")] = None,
    push: Annotated[
        str | None, typer.Option(metavar="NAME", help="A repository of the hub, e.g. me/shift; a new one is private.")
    ] = None,
    ema: Annotated[bool, typer.Option("--ema", help="The average of the weights, if the run kept one.")] = False,
    allow_changed: AllowChanged = False,
) -> None:
    """Write a run as a model that transformers loads, or push it to the hub.

    The folder holds the weights, the tokenizer and a model card. Example:

    zoo export latest --to hf --out shift-hf
    """
    from zoo.cli.train import latest_run

    assert to == "hf"  # typer takes no other
    if out is None and push is None:
        raise zoo.UsageError(
            "there is nowhere to export to: name a folder with `out`, a repository with `push`, or both"
        )
    run = latest_run(run)  # before transformers is imported, which takes a while
    from zoo_transformers.export import export_run

    exported = export_run(run, out, push=push, allow_changed=allow_changed, ema=ema)
    for warning in exported.warnings:
        warn(warning)
    if out is not None:
        print(out)
        say(f"load it with: import zoo_transformers; AutoModelForCausalLM.from_pretrained({str(out)!r})")
    if exported.url is not None:
        print(exported.url)


def import_checkpoint(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A local folder that transformers saved: GPT-2, Llama and the like.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The folder of the run.", show_default="a new one in runs/")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A text for `zoo inspect` to measure on: a corpus or a path.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens in a sequence that is inspected.", show_default="up to 1024")
    ] = None,
) -> None:
    """Make a pretrained model a run, which can be inspected and continued.

    Its layers become dot-product layers that predict the same. Example:

    zoo import gpt2/ --out runs/gpt2 --data shakespeare
    """
    from zoo_transformers.importing import import_folder

    run = import_folder(folder, out, data=data, context=context)
    print(run.path)
    for note in run.notes:
        say(note)
    if data is None:
        say("to inspect it, import it with a text: --data PATH")
