"""``zoo bench``: what mixers cost, as a function of length."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.bench_output import measure_and_write, report
from zoo.cli.files import with_file_names


def bench(
    *,
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN …", help="Patterns of token mixers.")],
    lengths: Annotated[
        str, typer.Option(metavar="LIST", help="Tokens in a sequence, with commas.")
    ] = "256,512,1024,2048,4096,8192",
    kinds: Annotated[
        str, typer.Option("--what", metavar="LIST", help="Of forward, train, prefill, decode and memory, with commas.")
    ] = "forward,train,prefill,decode,memory",
    dim: Annotated[int, typer.Option(metavar="N", help="Width of the residual stream.")] = 128,
    heads: Annotated[int, typer.Option(metavar="N", help="For the mixers that set none.")] = 4,
    residual: Annotated[
        str, typer.Option(metavar="NAME", help="How the parts share the stream, plain attention too.")
    ] = "pre-norm",
    batch: Annotated[int, typer.Option(metavar="N", help="Sequences side by side.")] = 1,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32 or bf16.")] = "fp32",
    threads: Annotated[int | None, typer.Option(metavar="N", show_default="every core", help="Of the CPU.")] = None,
    repeats: Annotated[int, typer.Option(metavar="N", help="Times that each cell is measured.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the parameters and the reads.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder, new. [bench/<time>-…]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print bench.json instead of the tables.")] = False,
) -> None:
    """Measure what mixers cost, as a function of length.

    The layers of each pattern are run on random reads, in turn with plain attention: time of a forward pass, of a
    training step and of one more token, and the memory of a training step. Tables go to stdout; a folder gets them
    as CSV, JSON, pictures and report.html. Exit code 1 if something could not be measured. Example:

    zoo bench correlation 'correlation*3, dot-product' --lengths 256,1024,4096

    Whole models, with how much of the machine they use: zoo bench model --help. A mixer called model is reached with
    zoo bench -- model.
    """
    from zoo.lab.bench.request import Request, read_kinds, read_lengths
    from zoo.lab.bench.session import make_ready, run_bench
    from zoo.lab.bench.write import as_json, write_bench

    request = Request(
        patterns=tuple(map(with_file_names, patterns)),
        lengths=read_lengths(lengths),
        kinds=read_kinds(kinds),
        dim=dim,
        heads=heads,
        residual=residual,
        batch=batch,
        device=device,
        precision=precision,
        threads=threads,
        repeats=repeats,
        seed=seed,
    )
    start = make_ready(request)
    measured, folder = measure_and_write(request, out, partial(run_bench, start), write_bench)
    report(measured, folder, as_json, json=json)
