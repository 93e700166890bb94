"""``zoo check``: the laws, asked of a mixer or of a whole model."""

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import class_in_file, with_file_names
from zoo.cli.output import console, print_json, say
from zoo.train.shell import join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from zoo.testing.check import LawResult, Request
    from zoo.testing.subject import Subject

BROKEN = 3
"""The exit code when a law is broken."""

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim", "expected": "yellow"}


def check(
    *,
    mixer: Annotated[
        str, typer.Argument(metavar="MIXER", help="A name, a pattern (a whole model), or a class: ./mine.py:Mine.")
    ],
    options: Annotated[
        str, typer.Option(metavar="OPTIONS", help="Fixed options, 'max_lag=3, rope=false'; the others are drawn.")
    ] = "",
    only: Annotated[list[str] | None, typer.Option(metavar="LAW", help="Ask only this law; can be repeated.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="LAW", help="Leave this law out; can be repeated.")] = None,
    examples: Annotated[int, typer.Option(metavar="N", help="Cases that are drawn for a law.")] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed draws the same cases.")] = 0,
    tier: Annotated[str, typer.Option(metavar="TIER", help="quick, or full: also torch.compile.")] = "quick",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a mixer or a model keeps the laws.

    Shape, causality, streaming, batch independence, gradients and more. Cases are drawn: sizes, options, parameters,
    reads and ways to cut them. What breaks a law is made as small as it gets, and told. A pattern of several layers
    is checked as a whole model, from tokens to logits. A file is run. Exit code 3 if a law is broken; docs/laws.md
    tells what each law is.
    """
    from zoo.errors import UsageError
    from zoo.testing.check import Request, check_subject
    from zoo.testing.subject import subject_of

    if tier not in ("quick", "full"):
        raise UsageError(f"--tier {tier} should be quick or full")
    _keep_out_of_the_way()
    subject = subject_of(class_in_file(mixer) or with_file_names(mixer), _read(options))
    request = Request(
        only=only or None,
        skip=skip or (),
        examples=examples,
        seed=seed,
        tier="full" if tier == "full" else "quick",
        expected_failures=subject.expected_failures,
    )
    screen, results = console(sys.stdout), []
    for result in _shown(screen, subject, request, check_subject(subject, request), quiet=json):
        results.append(result)
        if not json:
            _print(screen, result, _again(mixer, options, result.law, request))
    if json:
        print_json({"mixer": mixer, "seed": seed, "examples": examples, "tier": tier, "laws": list(map(vars, results))})
    else:
        _sum_up(results)
    if any(result.status == "failed" for result in results):
        raise typer.Exit(BROKEN)


def _keep_out_of_the_way() -> None:
    """Have Hypothesis keep what it notes of the sources in the cache, and not in a folder of the user's."""
    from zoo.data.cache import cache_directory

    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache_directory() / "hypothesis"))


def _read(options: str) -> dict[str, Any]:
    from zoo.plugin.pattern import parse_call

    return parse_call(f"mixer({options})").keywords if options.strip() else {}


def _shown(
    screen: "Console", subject: "Subject", request: "Request", results: "Iterator[LawResult]", *, quiet: bool
) -> "Iterator[LawResult]":
    """The results, with the law under way shown below them on a terminal."""
    if quiet or not sys.stdout.isatty():
        yield from results
        return
    names = [law.id for law in request.laws]
    with screen.status("") as status:
        for name in names:
            status.update(f"{name} of {subject.label}")
            yield next(results)


def _print(screen: "Console", result: "LawResult", again: str) -> None:
    """One line for a law; below it, if it is broken, what it promises and how to see it again."""
    from rich.text import Text

    from zoo.testing.laws import LAWS

    line = Text.assemble(
        (f"{result.status:<9}", _STYLES[result.status]), f"{result.law:<21}", f"{result.seconds:6.1f} s"
    )
    if result.message:
        line.append(f"  {result.message}", style="bold" if result.status == "failed" else "dim")
    screen.print(line, soft_wrap=True)
    if result.status == "failed":
        for text in (LAWS[result.law].promise, f"again: {again}"):
            screen.print(Text(f"{'':9}{text}", style="dim"), soft_wrap=True)


def _again(mixer: str, options: str, law: str, request: "Request") -> str:
    """The command that asks this law again, and draws the same cases."""
    words = ["zoo", "check", mixer, "--only", law]
    if options:
        words += ["--options", options]
    if request.examples != 20:
        words += ["--examples", str(request.examples)]
    if request.seed:
        words += ["--seed", str(request.seed)]
    if request.tier != "quick":
        words += ["--tier", request.tier]
    return join(words)


def _sum_up(results: "list[LawResult]") -> None:
    """How many of each; laws come in such an order that the first one broken often explains the others."""
    counts = Counter(result.status for result in results)
    seconds = sum(result.seconds for result in results)
    parts = [f"{counts[status]} {status}" for status in ("failed", "expected", "passed", "skipped") if counts[status]]
    say(f"{', '.join(parts) or 'no law asked'}, in {seconds:.1f} s")
    failed = [result.law for result in results if result.status == "failed"]
    if len(failed) > 1:
        say(f"begin with {failed[0]}: one mistake often breaks several laws")
