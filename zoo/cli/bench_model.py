"""``zoo bench model``: what whole language models cost, and how much of the machine they use."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.bench_output import measure_and_write, report
from zoo.cli.files import with_file_names


def bench_model(
    *,
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN …", help="Patterns of token mixers.")],
    kinds: Annotated[
        str, typer.Option("--what", metavar="LIST", help="Of train, evaluation, prefill and decode, with commas.")
    ] = "train,evaluation,prefill,decode",
    layers: Annotated[int, typer.Option(metavar="N", help="The pattern is cycled to so many layers.")] = 4,
    dim: Annotated[int, typer.Option(metavar="N", help="Width of the residual stream.")] = 128,
    heads: Annotated[int, typer.Option(metavar="N", help="For the mixers that set none.")] = 4,
    context: Annotated[int, typer.Option(metavar="N", help="Tokens in a sequence.")] = 128,
    batch: Annotated[int, typer.Option(metavar="N", help="Sequences side by side.")] = 16,
    vocab_size: Annotated[int, typer.Option(metavar="N", help="How many tokens there are.")] = 256,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32 or bf16.")] = "fp32",
    compile_model: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the model for its training step.")
    ] = False,
    threads: Annotated[int | None, typer.Option(metavar="N", show_default="every core", help="Of the CPU.")] = None,
    repeats: Annotated[int, typer.Option(metavar="N", help="Times that each cell is measured.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the parameters and the tokens.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder, new. [bench/<time>-…]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print bench.json instead of the tables.")] = False,
) -> None:
    """Measure what whole models cost, beside what the machine can do.

    The language model of each pattern trains, is evaluated, reads a prompt and decodes, in turn with the dot-product
    model and a plain model like GPT-2 of the same size: time, tokens a second, operations, bytes, and utilisation, the
    fraction of the machine's limit that was reached. Tables go to stdout; a folder gets them as CSV, JSON, pictures and
    report.html. Exit code 1 if something could not be measured. Example:

    zoo bench model correlation 'correlation*3, dot-product' --context 64 --batch 12 --what train,decode
    """
    from zoo.lab.bench.models.request import KINDS, ModelRequest
    from zoo.lab.bench.models.session import make_ready, run_bench
    from zoo.lab.bench.models.write import as_json, write_bench
    from zoo.lab.bench.request import read_kinds

    request = ModelRequest(
        patterns=tuple(map(with_file_names, patterns)),
        kinds=read_kinds(kinds, tuple(KINDS)),
        layers=layers,
        dim=dim,
        heads=heads,
        context=context,
        batch=batch,
        vocab_size=vocab_size,
        device=device,
        precision=precision,
        compile=compile_model,
        threads=threads,
        repeats=repeats,
        seed=seed,
    )
    start = make_ready(request)
    measured, folder = measure_and_write(request, out, partial(run_bench, start), write_bench)
    report(measured, folder, as_json, json=json)
