"""``zoo bench``: what mixers cost, as a function of length."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.files import with_file_names
from zoo.cli.output import INTERRUPTED, print_json, say, warn

if TYPE_CHECKING:
    from zoo.lab.bench.request import Request
    from zoo.lab.bench.result import Bench

BENCHES = Path("bench")
"""Where the folders of benches go, seen from where the command is given."""


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
    """
    from zoo.lab.bench.request import Request, read_kinds, read_lengths

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
    measured, folder = _measure(request, out)
    _report(measured, folder, json=json)
    if not measured.complete:
        raise typer.Exit(INTERRUPTED)
    if measured.failed:
        raise typer.Exit(1)


def _measure(request: "Request", out: Path | None) -> "tuple[Bench, Path]":
    """Measure, and write what was measured, into a folder that was made before."""
    from zoo.cli.bench_display import listening
    from zoo.lab.bench.session import make_ready, run_bench
    from zoo.lab.bench.write import new_folder, write_bench

    start = make_ready(request)
    folder = new_folder(request, root=BENCHES, out=out)
    with listening() as listener:
        measured = run_bench(start, listener)
    if not measured.cells:
        folder.rmdir()
        raise KeyboardInterrupt
    write_bench(measured, folder)
    return measured, folder


def _report(measured: "Bench", folder: Path, *, json: bool) -> None:
    from zoo.lab.bench.summary import summary
    from zoo.lab.bench.write import as_json

    if json:
        print_json(as_json(measured) | {"folder": str(folder)})
    else:
        print(summary(measured))
    if not measured.complete:
        warn("interrupted: what was measured so far is shown and saved, marked as incomplete")
    say(f"report: {folder / 'report.html'}")
