"""``zoo eval``: how well a trained model predicts, by position and by length."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.files import AllowChanged
from zoo.cli.latest import folder_argument
from zoo.cli.output import print_json, print_lines, print_table, warn
from zoo.errors import UsageError
from zoo.train.shell import quote

if TYPE_CHECKING:
    from zoo.lab.evaluation.result import Evaluation


def evaluate(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=folder_argument, help="The folder of a run, or latest.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="WHAT", show_default="the run's own", help="Another text, or for a task another task."),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            "--length",
            metavar="LIST",
            show_default="1x,2x,4x,8x",
            help="Tokens of a sequence, or multiples of the context, with commas. A task has its own.",
        ),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", show_default="as the run did", help="About how many to measure on.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32 or bf16; auto takes that of the run.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="RUN/eval", help="Where figures and page go.")
    ] = None,
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the tables.")] = False,
) -> None:
    """Measure how well a trained model predicts.

    On its validation data or on others: loss, perplexity, bits per byte and accuracy, the loss by position in the
    sequence, and the loss at up to 8 times the context that it was trained on; of a task the accuracy at each length.
    A folder gets eval.json, the curves as PNG and SVG, and report.html. Example:

    zoo eval latest --data other.txt --length 1x,16x
    """
    from zoo.cli.inspect import spinner
    from zoo.cli.train import latest_run
    from zoo.lab.evaluation.evaluation import evaluate as evaluate_run
    from zoo.lab.evaluation.result import as_table
    from zoo.lab.evaluation.writing import FOLDER, check_folder, command_for, folder_for, write_evaluation
    from zoo.run import load_run
    from zoo.train.machine import resolve_auto
    from zoo.train.settings import validate

    run = latest_run(run)
    check_folder(run / FOLDER if out is None else out)
    loaded = load_run(run, device=resolve_auto(validate({"device": device})).device)
    for warning in loaded.warnings:
        warn(warning)
    asked = None if lengths is None else _read_lengths(lengths, loaded.settings.context)
    with spinner() as progress:
        found = evaluate_run(loaded, data=data, lengths=asked, tokens=tokens, precision=precision, progress=progress)
        again = [*_given("--data", data), *_given("--length", lengths), *_given("--tokens", tokens)]
        page = write_evaluation(found, folder_for(found, out), command=command_for(found, again))
    for note in found.notes:
        warn(note)
    if json:
        print_json(as_table(found) | {"report": str(page)})
    else:
        _print(found, page)


def _print(found: "Evaluation", page: Path) -> None:
    from zoo.lab.evaluation.writing import about, accuracy_rows, length_rows, number

    figures = {
        "loss": f"{number(found.loss, '.4f')} {found.unit}",
        "perplexity": number(found.perplexity, ",.4g"),
        "bits per byte": number(found.bits_per_byte, ".4f"),
        "accuracy": number(found.accuracy, ".1%"),
    }
    print_lines({name: text for name, text in figures.items() if text != "n/a"} | {"measured on": about(found)})
    head, rows = length_rows(found)
    if rows:
        print()
        print_table(head, rows)
    for name, table in accuracy_rows(found):
        print()
        print_table((name, "accuracy", "guessing"), table)
    print_lines({"report": str(page)})


def _read_lengths(text: str, context: int) -> list[int]:
    """Lengths in tokens: ``512`` is one, and ``4x`` four times the context."""
    lengths = []
    for word in text.replace(" ", "").split(","):
        plain = word.removesuffix("x")
        if not (plain.isascii() and plain.isdigit()):
            raise UsageError(f"--length {text} should be tokens or multiples of the context, e.g. 512,1024 or 1x,8x")
        lengths.append(int(plain) * (context if plain != word else 1))
    return lengths


def _given(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, quote(str(value))]
