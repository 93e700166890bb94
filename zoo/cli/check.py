"""``zoo check``: the laws, asked of a member of any kind or of a whole model."""

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.files import class_in_file, with_file_names
from zoo.cli.output import console, print_json, say
from zoo.cli.parameters import with_flags
from zoo.cli.processes import run_in_processes
from zoo.train.engine.launch import is_launched
from zoo.train.shell import join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from zoo.testing.checker import LawResult, Request
    from zoo.testing.subject import Subject

BROKEN = 3
"""The exit code when a law is broken."""

_STYLES = {"passed": "green", "advice": "cyan", "failed": "bold red", "skipped": "dim", "expected": "yellow"}


def check(
    command: typer.Context,
    *,
    member: Annotated[
        str,
        typer.Argument(
            metavar="MEMBER",
            help="A name, KIND:NAME (e.g. residual:mhc), a class (./mine.py:Mine), or a pattern (a whole model).",
        ),
    ],
    options: Annotated[
        str, typer.Option(metavar="OPTIONS", help="Fixed options, 'max_lag=3, rope=false'; the others are drawn.")
    ] = "",
    only: Annotated[list[str] | None, typer.Option(metavar="LAW", help="Ask only this law; can be repeated.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="LAW", help="Leave this law out; can be repeated.")] = None,
    examples: Annotated[int, typer.Option(metavar="N", help="Cases that are drawn for a law.")] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed draws the same cases.")] = 0,
    thorough: Annotated[bool, typer.Option("--thorough", help="Also ask what takes long: torch.compile.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Advice counts: exit code 3 for it, too.")] = False,
    ranks: Annotated[
        int | None, typer.Option(metavar="N", help="Ask whether N processes may each hold a part of it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a member of any kind, or a model, keeps the laws.

    Of mixers: shape, causality, streaming, batch independence, gradients and more. Every kind has laws: channel mixers,
    residual schemes, tasks, corpora, tokenizers, optimizers. Cases are drawn: sizes, options, parameters, reads and
    ways to cut them. What breaks a law is made as small as it gets, and reported. A pattern of several layers is
    checked as a whole model, from tokens to logits. A file is run. Exit code 3 if a law is broken that makes results
    wrong; what would make the member better to use is advice, unless --strict is given. docs/laws.md says what each law
    is.
    """
    from zoo.testing.checker import Request
    from zoo.testing.kinds import find_subject
    from zoo.testing.storage import keep_hypothesis_in_the_cache

    if ranks is not None and not is_launched():
        raise typer.Exit(run_in_processes(ranks, command.obj.arguments, json=json))
    keep_hypothesis_in_the_cache()
    suite, subject = find_subject(class_in_file(member) or with_file_names(member), _read(options))
    request = Request(
        suite=suite,
        only=only or None,
        skip=skip or (),
        examples=examples,
        seed=seed,
        thorough=thorough,
        strict=strict,
        expected_failures=subject.expected_failures,
    )
    if ranks is None:
        _report(member, options, subject, request, json=json)
        return
    from zoo.testing.sharded import of_several_processes
    from zoo.train.engine.process_group import joined

    with joined():
        _report(member, options, subject, of_several_processes(request), json=json)


def _report(member: str, options: str, subject: "Subject", request: "Request", *, json: bool) -> None:
    """Ask, and print what became of each law."""
    from zoo.testing.check import check_subject

    screen, results = console(sys.stdout), []
    for found in _shown(screen, subject, request, check_subject(subject, request), quiet=json):
        result = replace(found, message=with_flags(found.message))
        results.append(result)
        if not json and result.status != "advice":
            _print(screen, result, _again(member, options, result.law, request), request)
    if json:
        head = {
            "kind": request.suite.kind.name,
            "member": member,
            "seed": request.seed,
            "examples": request.examples,
            "thorough": request.thorough,
            "strict": request.strict,
        }
        print_json({**head, "laws": list(map(vars, results))})
    else:
        _print_advice(screen, results)
        _sum_up(results)
    if any(result.status == "failed" for result in results):
        raise typer.Exit(BROKEN)


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


def _print(screen: "Console", result: "LawResult", again: str, request: "Request") -> None:
    """One line for a law; below it, if it is broken, what it promises and how to see it again."""
    from rich.text import Text

    line = Text.assemble(
        (f"{result.status:<9}", _STYLES[result.status]), f"{result.law:<21}", f"{result.seconds:6.1f} s"
    )
    if result.message:
        line.append(f"  {result.message}", style="bold" if result.status == "failed" else "dim")
    screen.print(line, soft_wrap=True)
    if result.status == "failed":
        for text in (request.suite.laws[result.law].promise, f"again: {again}"):
            screen.print(Text(f"{'':9}{text}", style="dim"), soft_wrap=True)


def _print_advice(screen: "Console", results: "list[LawResult]") -> None:
    """What would make it better to use, a line each."""
    from rich.text import Text

    advice = [result for result in results if result.status == "advice"]
    if advice:
        screen.print(Text("\nAdvice (results are right without it; --strict makes it count):"), soft_wrap=True)
    for result in advice:
        line = Text.assemble((f"{'advice':<9}", _STYLES["advice"]), f"{result.law:<21}{result.message}")
        screen.print(line, soft_wrap=True)


def _again(member: str, options: str, law: str, request: "Request") -> str:
    """The command that asks this law again, and draws the same cases."""
    words = ["zoo", "check", member, "--only", law]
    if options:
        words += ["--options", options]
    if request.examples != 20:
        words += ["--examples", str(request.examples)]
    if request.seed:
        words += ["--seed", str(request.seed)]
    words += ["--thorough"] * request.thorough + ["--strict"] * request.strict
    return join(words)


def _sum_up(results: "list[LawResult]") -> None:
    """How many of each; laws come in such an order that the first one broken often explains the others."""
    counts = Counter(result.status for result in results)
    seconds = sum(result.seconds for result in results)
    parts = [
        f"{counts[status]} {status}"
        for status in ("failed", "expected", "advice", "passed", "skipped")
        if counts[status]
    ]
    say(f"{', '.join(parts) or 'no law asked'}, in {seconds:.1f} s")
    failed = [result.law for result in results if result.status == "failed"]
    if len(failed) > 1:
        say(f"begin with {failed[0]}: one mistake often breaks several laws")
