"""``zoo generate``: continue texts with a trained run."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import AllowChanged
from zoo.cli.latest import folder_argument
from zoo.cli.output import print_json, print_json_line, printable, say, warn
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.run import Run


def generate(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=folder_argument, help="The folder of a run, or latest.")],
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", show_default="a newline", help="What to continue; - reads it from stdin."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many: a .txt with one a line, or a .jsonl of strings.")
    ] = None,
    samples: Annotated[int, typer.Option(metavar="N", help="How many continuations of each prompt.")] = 1,
    batch: Annotated[int, typer.Option(metavar="N", help="How many texts are written side by side.")] = 16,
    tokens: Annotated[int, typer.Option(metavar="N", help="How many tokens to sample.")] = 256,
    temperature: Annotated[float, typer.Option(metavar="X", help="0 takes the most likely token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(metavar="N", help="Only among the N most likely tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="X", help="Only among the most likely that hold X.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same text.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="Of the weights: fp32 or bf16.")] = "fp32",
    ema: Annotated[bool, typer.Option("--ema", help="With the average of the weights, if the run kept one.")] = False,
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object, or one a line for several texts.")
    ] = False,
) -> None:
    """Continue texts with a trained run.

    The prompt and what follows go to stdout as it is sampled; of several texts, each as soon as its batch is
    finished. Examples:

    zoo generate runs/20250131-… --prompt 'def ' --tokens 500 --temperature 0.7

    zoo generate latest --prompts prompts.txt --samples 4 --json > texts.jsonl
    """
    from zoo.cli.train import latest_run
    from zoo.data.prompts import read_prompts
    from zoo.model.texts import check_counts
    from zoo.run import load_run
    from zoo.train.machine import resolve_auto
    from zoo.train.settings import validate

    if prompt is not None and prompts is not None:
        raise UsageError("--prompt and --prompts both say what to continue: give one of them")
    check_counts(samples, batch)
    texts = [_read_prompt(prompt)] if prompts is None else read_prompts(prompts)
    run = latest_run(run)
    loaded = load_run(run, device=resolve_auto(validate({"device": device})).device, ema=ema, precision=precision)
    for warning in loaded.warnings:
        warn(warning)
    how: dict[str, Any] = {"tokens": tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    if prompts is None and samples == 1:
        _write_one(loaded, texts[0], how, json=json)
    else:
        _write_many(loaded, texts, how | {"samples": samples, "batch": batch}, json=json)


def _write_one(run: "Run", prompt: str, how: dict[str, Any], *, json: bool) -> None:
    began = time.perf_counter()
    pieces = run.generate(prompt, **how)
    text = "".join(pieces) if json else _stream(prompt, pieces)
    tokens = how["tokens"]
    speed = tokens / (time.perf_counter() - began)
    if json:
        print_json({"prompt": prompt, "text": text, "tokens": tokens, "tokens_per_second": speed, "seed": how["seed"]})
    else:
        say(f"{tokens:,} tokens, {speed:,.0f} tokens/s")


def _write_many(run: "Run", prompts: Sequence[str], how: dict[str, Any], *, json: bool) -> None:
    """Write each text when it is there: an interrupt loses none that is finished."""
    began = time.perf_counter()
    shown = printable if sys.stdout.isatty() else str
    count, tokens = 0, how["tokens"]
    for text in run.generate_many(prompts, **how):
        if json:
            print_json_line(asdict(text) | {"tokens": tokens, "seed": how["seed"]})
        else:
            heading = _heading(text.index, len(prompts), text.sample, how["samples"])
            sys.stdout.write("\n" * (count > 0) + f"=== {heading} ===\n{shown(text.prompt + text.text)}\n")
            sys.stdout.flush()
        count += 1
    speed = count * tokens / (time.perf_counter() - began)
    say(f"{count:,} {'text' if count == 1 else 'texts'} of {tokens:,} tokens, {speed:,.0f} tokens/s")


def _heading(index: int, prompts: int, sample: int, samples: int) -> str:
    """Which text it is, counted from 1; of a number that there is only one of nothing is said."""
    numbers = [("prompt", index, prompts), ("sample", sample, samples)]
    said = [f"{name} {place + 1} of {count}" for name, place, count in numbers if count > 1]
    return ", ".join(said) or "prompt 1 of 1"


def _read_prompt(given: str | None) -> str:
    """The text of the option, a newline if there is none; ``-`` stands for stdin."""
    if given != "-":
        return "\n" if given is None else given
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
