"""``zoo generate``: continue a text with a trained run."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.files import AllowChanged
from zoo.cli.latest import folder_argument
from zoo.cli.output import print_json, printable, say, warn


def generate(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=folder_argument, help="The folder of a run, or latest.")],
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", show_default="a newline", help="What to continue; - reads it from stdin.")
    ] = "\n",
    tokens: Annotated[int, typer.Option(metavar="N", help="How many tokens to sample.")] = 256,
    temperature: Annotated[float, typer.Option(metavar="X", help="0 takes the most likely token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(metavar="N", help="Only among the N most likely tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="X", help="Only among the most likely that hold X.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same text.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    ema: Annotated[bool, typer.Option("--ema", help="With the average of the weights, if the run kept one.")] = False,
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the text.")] = False,
) -> None:
    """Continue a text with a trained run.

    The prompt and what follows go to stdout as it is sampled. Example:

    zoo generate runs/20250131-… --prompt 'def ' --tokens 500 --temperature 0.7
    """
    from zoo.cli.train import latest_run
    from zoo.run import load_run
    from zoo.train.machine import resolve_auto
    from zoo.train.settings import validate

    run = latest_run(run)
    loaded = load_run(run, device=resolve_auto(validate({"device": device})).device, ema=ema)
    for warning in loaded.warnings:
        warn(warning)
    prompt = _read_stdin() if prompt == "-" else prompt
    began = time.perf_counter()
    pieces = loaded.generate(prompt, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    text = "".join(pieces) if json else _stream(prompt, pieces)
    speed = tokens / (time.perf_counter() - began)
    if json:
        print_json({"prompt": prompt, "text": text, "tokens": tokens, "tokens_per_second": speed, "seed": seed})
    else:
        say(f"{tokens:,} tokens, {speed:,.0f} tokens/s")


def _read_stdin() -> str:
    from zoo.errors import UsageError

    if sys.stdin is None:
        raise UsageError("--prompt - reads the prompt from stdin, which is closed: pipe a text into it")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise UsageError("--prompt - reads the prompt from stdin, and what came there is not UTF-8 text") from None


def _stream(prompt: str, pieces: Iterator[str]) -> str:
    """Write text as it comes; a terminal gets only what it can show."""
    shown = printable if sys.stdout.isatty() else str
    written = [prompt]
    sys.stdout.write(shown(prompt))
    for piece in pieces:
        sys.stdout.write(shown(piece))
        sys.stdout.flush()
        written.append(piece)
    sys.stdout.write("\n")
    sys.stdout.flush()
    return "".join(written)
