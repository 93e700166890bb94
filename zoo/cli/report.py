"""``zoo report``: a run's page again, or all that it has logged for a reporter."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.latest import folder_argument
from zoo.cli.output import print_json, say
from zoo.cli.train import latest_run
from zoo.errors import UsageError


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, or latest.", parser=folder_argument)],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="NAMES", help="Reporters that get every row: tensorboard, wandb."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the page of a run again, or replay a run for reporters.

    A reporter then holds what metrics.jsonl has, whatever it held of the run before. `zoo list --kind reporter` lists
    those that are installed.
    """
    from zoo.train.report import finish
    from zoo.train.reports import replay
    from zoo.train.run_directory import RunDirectory

    folder = RunDirectory.open(latest_run(run))
    if to is not None:
        names, text = replay(folder, to), "{} has all rows of {}"
        if json:
            print_json({"run": str(folder.path), "reporters": names, "rows": len(folder.metrics())})
        else:
            say("\n".join(text.format(name, folder.path) for name in names))
        return
    if (summary := folder.summary) is None:
        raise UsageError(f"{folder.path} has not ended, and its page comes at its end: go on with zoo train --resume")
    with folder.lock():
        finish(folder, summary)
    if json:
        print_json({"run": str(folder.path), "report": str(folder.path / "report.html")})
    else:
        say(f"report  {folder.path / 'report.html'}")
