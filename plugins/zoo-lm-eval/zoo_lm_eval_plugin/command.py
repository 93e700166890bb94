"""``zoo evaluate``: a run on the tasks of the LM Evaluation Harness, and on tasks of the user's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import zoo
from zoo.cli.files import AllowChanged
from zoo.cli.latest import folder_argument
from zoo.cli.output import print_json, print_lines, print_table, warn

_COLUMNS = ("task", "metric", "value", "error", "better", "examples", "shots")
_KINDS = {
    "loglikelihood": "scoring continuations",
    "loglikelihood_rolling": "scoring texts",
    "generate_until": "generating",
}
_LEAST = 0, 4, 13
"""The version of the harness whose Python interface is used."""


def evaluate(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=folder_argument, help="The folder of a run, or latest.")],
    tasks: Annotated[
        str, typer.Option(metavar="NAME,…", help="Tasks, groups or tags, YAML files of tasks, or folders of them.")
    ],
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N examples of each task.")] = None,
    shots: Annotated[int | None, typer.Option(metavar="N", help="Solved examples before each question.")] = None,
    context: Annotated[int | None, typer.Option(metavar="N", help="Tokens that the model reads at once.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is sampled.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A new file for all results, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all results as one JSON object.")] = False,
) -> None:
    """Evaluate a trained run on tasks of the LM Evaluation Harness.

    Tasks in files of your own need no network. Example:

    zoo evaluate runs/20250131-… --tasks lambada_openai,./tasks --limit 200
    """
    from zoo.cli.inspect import spinner
    from zoo.cli.train import latest_run

    run = latest_run(run)
    _check_new(out)
    _require_harness()
    from zoo_lm_eval.evaluation import evaluate_run

    with spinner() as show:
        show("loading the run and the tasks")
        found = evaluate_run(
            _load(run, device),
            tasks,
            limit=limit,
            shots=shots,
            context=context,
            seed=seed,
            progress=lambda kind, done, total: show(f"{_KINDS[kind]}: {done:,} of {total:,}"),
        )
    if out is not None:
        _write(out, found)
    if json:
        print_json(found)
    else:
        print_table(_COLUMNS, list(_rows(found)))
        figures = {"run": f"{found['model']['run']}, after step {found['model']['step']:,d}"}
        print_lines(figures | ({} if out is None else {"results": str(out)}))


def _load(run: Path, device: str) -> Any:
    from zoo.train.machine import resolve_auto
    from zoo.train.settings import validate

    loaded = zoo.load_run(run, device=resolve_auto(validate({"device": device})).device)
    for warning in loaded.warnings:
        warn(warning)
    return loaded


def _require_harness() -> None:
    import re
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("lm-eval")
    except PackageNotFoundError:
        raise zoo.UsageError("zoo evaluate needs the LM Evaluation Harness: pip install lm-eval") from None
    if tuple(map(int, re.findall(r"\d+", installed)[:3])) < _LEAST:
        least = ".".join(map(str, _LEAST))
        raise zoo.UsageError(
            f"zoo evaluate needs lm-eval {least}, and {installed} is installed: pip install -U lm-eval"
        )


def _check_new(out: Path | None) -> None:
    """Refuse a place for the results before they are computed."""
    if out is None:
        return
    if out.exists() or out.is_symlink():
        raise zoo.UsageError(f"{out} exists: choose another `out`")
    if not out.absolute().parent.is_dir():
        raise zoo.UsageError(f"there is no folder {out.absolute().parent} for `out`: make it, or choose another")


def _write(out: Path, found: dict[str, Any]) -> None:
    from zoo.files.atomic import write_atomically
    from zoo.files.strict_json import to_json

    _check_new(out)  # it may have been made meanwhile
    write_atomically(out, to_json(found))


def _rows(found: dict[str, Any]) -> Iterator[list[str]]:
    """A line for each metric of each task and group, which the harness calls ``acc,none`` or ``acc,strict-match``."""
    for name, measured in found["results"].items():
        counts = found.get("n-samples", {}).get(name, {}).get("effective", "")
        shown = [str(measured.get("alias", name)), f"{counts:,}" if counts else "", str(found["n-shot"].get(name, ""))]
        for key, value in measured.items():
            metric, comma, way = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            better = {True: "higher", False: "lower"}.get(found["higher_is_better"].get(name, {}).get(metric), "")
            label = metric if way == "none" else f"{metric} ({way})"
            error = _number(measured.get(f"{metric}_stderr,{way}"))
            yield [shown[0], label, _number(value), error, better, *shown[1:]]


def _number(value: object) -> str:
    """Four places; nothing for what the harness could not compute."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value in (None, "N/A") else str(value)
    return f"{value:.4f}"
