"""``zoo doctor``: what of this machine and this environment stands in the way."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.output import console, print_json
from zoo.cli.threads import count_others, is_busy

if TYPE_CHECKING:
    from zoo.describe.doctor import Finding

PROBLEM = 3
"""The exit code where something is a problem: a check says no."""

_STYLES = {"ok": "green", "note": "bold yellow", "problem": "bold red"}


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON, with every figure.")] = False) -> None:
    """Look at this machine and this environment, and say what to do.

    Versions, processor, threads, load, memory, disk, devices, bf16, compiler, cache, plugins, and the variables that
    are set. A note is what may surprise or slow down; a problem breaks something, and the exit code is then 3.
    """
    others = count_others()  # before torch is imported, which makes this process busy
    from zoo.describe.doctor import as_plain, examine
    from zoo.describe.facts import gather_facts

    facts = gather_facts(others=others, busy=is_busy(others))
    findings = examine(facts)
    if json:
        print_json(as_plain(facts, findings))
    else:
        _print(findings)
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(PROBLEM)


def _print(findings: "list[Finding]") -> None:
    """A line each, and below it what to do."""
    from rich.text import Text

    screen = console(sys.stdout)
    for finding in findings:
        head = (f"{finding.status:<9}", _STYLES[finding.status])
        screen.print(Text.assemble(head, (f"{finding.topic:<11}", "dim"), finding.text), soft_wrap=True)
        if finding.advice:
            screen.print(Text(f"{'':<20}→ {finding.advice}"), soft_wrap=True)
