"""``zoo compare``: mixers beside each other, on the same batches, at equal sizes, over several seeds."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.files import AllowChanged, with_file_names
from zoo.cli.latest import folder_argument, resolve_latest
from zoo.cli.output import INTERRUPTED, print_json, print_lines, print_table, say
from zoo.cli.parameters import given_flags, with_flags
from zoo.errors import PluginError, UsageError, ZooError
from zoo.plugin.stdout import stdout_to_stderr
from zoo.train.shell import quote

if TYPE_CHECKING:
    from zoo.lab.compare.folder import Folder
    from zoo.lab.compare.plan import Arm, Plan
    from zoo.lab.compare.request import Request
    from zoo.lab.compare.results import Results

COMPARISONS = Path("comparisons")
"""Where the folders of comparisons go, seen from where the command is given."""

_What = partial(typer.Option, rich_help_panel="What")
_Model = partial(typer.Option, rich_help_panel="Model")
_Run = partial(typer.Option, rich_help_panel="Run")


def compare(
    command: typer.Context,
    *,
    patterns: Annotated[list[str] | None, typer.Argument(metavar="PATTERN …", help="Patterns of token mixers.")] = None,
    data: Annotated[
        list[str] | None,
        _What(metavar="WHAT", show_default="python-stdlib", help="A text, a task, or a suite: MAD. Repeatable."),
    ] = None,
    tier: Annotated[
        str | None, _What(metavar="NAME", show_default="smoke", help="How large: smoke, laptop or paper.")
    ] = None,
    seeds: Annotated[int | None, _What(metavar="N", show_default="of the tier", help="Runs that count.")] = None,
    lrs: Annotated[
        str | None, _What(metavar="LIST", show_default="of the tier", help="Learning rates to try, with commas.")
    ] = None,
    match: Annotated[
        str | None, _What(metavar="WHAT", show_default="none", help="Make equal: none, params, flops or state.")
    ] = None,
    budget: Annotated[
        str | None, _What(metavar="BUDGET", show_default="of the tier", help="steps:N, seconds:N or flops:N a run.")
    ] = None,
    min_effect: Annotated[
        list[str] | None,
        _What(metavar="X", show_default="1% and 0.01", help="Call less small: 1% (accuracy), 0.01 (nats). Repeatable."),
    ] = None,
    solved: Annotated[
        str | None,
        _What(metavar="X", show_default="of the task", help="From this accuracy on a task is solved: 99%."),
    ] = None,
    noise_floor: Annotated[
        bool, _What("--noise-floor", help="How far seeds alone move the figures of one pattern, on 20 seeds.")
    ] = False,
    layers: Annotated[int | None, _Model(metavar="N", help="The patterns are cycled to so many layers.")] = None,
    dim: Annotated[int | None, _Model(metavar="N", help="Width of the residual stream.")] = None,
    heads: Annotated[int | None, _Model(metavar="N", help="For the mixers that set none.")] = None,
    channel_mixer: Annotated[str | None, _Model(metavar="NAME", help="swiglu, mlp or none.")] = None,
    residual: Annotated[str | None, _Model(metavar="NAME", help="How the parts share the stream.")] = None,
    optimizer: Annotated[str | None, _Model(metavar="NAME", help="adamw, lion, muon or sgd, with options.")] = None,
    objective: Annotated[str | None, _Model(metavar="NAME", help="Of a text: next-token or masked.")] = None,
    device: Annotated[str | None, _Model(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")] = None,
    assignments: Annotated[
        list[str] | None, _Model("--set", metavar="KEY=VALUE", help="Any setting of a run. Repeatable.")
    ] = None,
    jobs: Annotated[int | None, _Run(metavar="N", show_default="a core each", help="Runs at a time.")] = None,
    on: Annotated[
        str | None,
        _Run(metavar="EXECUTOR", show_default="processes", help="What makes the runs, see zoo list --kind executor."),
    ] = None,
    out: Annotated[Path | None, _Run(metavar="DIR", help="The folder. [comparisons/<time>-…]")] = None,
    resume: Annotated[
        Path | None,
        _Run(metavar="DIR", parser=folder_argument, help="Resume a comparison, or latest; alone or with --on, --json."),
    ] = None,
    allow_changed: AllowChanged = False,  # noqa: ARG001 - its callback has done it
    dry_run: Annotated[bool, _Run("--dry-run", help="Show sizes, steps and runs. Train nothing.")] = False,
    json: Annotated[bool, _Run("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Compare mixers fairly.

    All see the same batches in the same order. With --match each model gets the width at which it is as big as that of
    the first pattern. With several --lrs each gets the one that suits it, found on a seed that does not count. Figures
    come with intervals over the seeds. The folder holds results.csv, results.json, plots and report.html; the same
    command with the same --out goes on where it was stopped. Exit code 1 if something failed. Example:

    zoo compare dot-product correlation --data 'mqar(vocab=256)' --seeds 3 --match params
    """
    if resume is not None:
        _refuse_beside_resume(command)
        _resume(resolve_latest(resume, COMPARISONS, sign="comparison.json", what="comparison"), on, json=json)
        return
    from zoo.lab.compare import request as asked
    from zoo.lab.compare.executors import DEFAULT, read_executor
    from zoo.train.resolve import read_assignments

    model = {"layers": layers, "dim": dim, "heads": heads, "channel_mixer": channel_mixer, "residual": residual}
    model |= {"optimizer": optimizer, "objective": objective, "device": device}
    settings = read_assignments(assignments or ()) | {name: value for name, value in model.items() if value is not None}
    request = asked.Request(
        patterns=asked.read_patterns([*map(with_file_names, patterns or ())]),
        data=asked.read_data(data or ("python-stdlib",)),
        tier=tier or "smoke",
        seeds=seeds,
        lrs=asked.read_lrs(lrs) if lrs is not None else None,
        match=asked.read_match(match or "none"),
        budget=asked.read_budget(budget) if budget is not None else None,
        settings=settings,
        jobs=jobs,
        min_effects=asked.read_min_effects(min_effect or ()),
        on=read_executor(on or DEFAULT),
        solved=asked.read_solved(solved) if solved is not None else None,
        noise_floor=noise_floor,
    )
    if dry_run:
        _show_plan(request, json=json)
    else:
        _start(request, out, json=json)


def _refuse_beside_resume(command: typer.Context) -> None:
    given = given_flags(command, but={"resume", "on", "allow_changed", "json"})
    if given:
        raise UsageError(f"--resume goes on with the comparison as it was planned: leave out {', '.join(given)}")


def _start(request: "Request", out: Path | None, *, json: bool) -> None:
    from zoo.lab.compare.session import create_comparison

    plan, folder = create_comparison(request, root=COMPARISONS, out=out)
    _report(folder, _watched(plan, folder), json=json)


def _resume(path: Path, on: str | None, *, json: bool) -> None:
    from zoo.lab.compare.executors import read_executor
    from zoo.lab.compare.session import open_comparison

    plan, folder = open_comparison(path)
    _report(folder, _watched(plan, folder, None if on is None else read_executor(on)), json=json)


def _watched(plan: "Plan", folder: "Folder", on: str | None = None) -> "Results":
    """Make the runs before the eyes of the user, who may stop them."""
    from zoo.cli.compare_display import live_listener
    from zoo.lab.compare.session import GridInterrupted, run_comparison

    further = f"resume with: zoo compare --resume {quote(str(folder.path))}"
    try:
        with live_listener() as listener:
            return run_comparison(plan, folder, listener, on=on)
    except GridInterrupted:
        say(f"stopped, every run saved; {further}")
        raise typer.Exit(INTERRUPTED) from None
    except (UsageError, PluginError):
        raise
    except ZooError:
        say(f"what was saved stands; {further}")
        raise


def _report(folder: "Folder", results: "Results", *, json: bool) -> None:
    from zoo.lab.compare.export import results_as_json
    from zoo.lab.compare.format import format_guess, verdict
    from zoo.lab.compare.report import columns, noise_floor_table, rows

    if json:
        print_json({"folder": str(folder.path), **results_as_json(results)})
    else:
        for result in results.data:
            print(" ".join(filter(None, [f"{result.data}: {verdict(result)}", format_guess(result)])), end="\n\n")
            print_table(columns(result), rows(result, results.plan.match))
            print()
        if results.plan.noise_floor:
            print_table(*noise_floor_table(results))
            print()
        print_lines({"report": str(folder.path / "report.html"), "results": str(folder.path / "results.csv")})
    _tell_failures([(arm.arm, arm.error) for result in results.data for arm in result.arms if arm.error])


def _tell_failures(failed: "Sequence[tuple[Arm, str]]") -> None:
    for arm, error in failed:
        say(f"{arm.pattern} on {arm.data} failed: {with_flags(error)}", label="error:", style="bold red")
    if failed:
        raise typer.Exit(1)


def _show_plan(request: "Request", *, json: bool) -> None:
    """The sizes that were found, and what there is to do."""
    from zoo.cli.compare_display import runs
    from zoo.lab.compare.plan import plan_as_json
    from zoo.lab.compare.session import plan_request

    with stdout_to_stderr():  # a mixer may print when it is built
        plan = plan_request(request)
    if json:
        print_json(plan_as_json(plan))
    else:
        _print_plan(plan)
        say(f"{runs(plan.runs)}, {plan.jobs} at a time, seeds {', '.join(map(str, plan.seeds))}")
    _tell_failures([(arm, arm.error) for arm in plan.arms if arm.error])


def _print_plan(plan: "Plan") -> None:
    from zoo.lab.compare.format import count, format_ratio

    heads = ["data", "pattern", "width", "channel mixer", "parameters", "FLOPs/token", "state", "steps", "match"]
    if plan.match == "none":
        del heads[-1]
    rows = []
    for arm in plan.arms:
        row = [arm.data, arm.pattern, "failed", *[""] * 6]
        if arm.settings is not None and arm.size is not None:
            size, ratio = arm.size, format_ratio(arm.ratio, plan.match)
            row[2:4] = str(arm.settings.dim), arm.settings.channel_mixer
            row[4:7] = count(size.parameters), count(size.training_flops), count(size.state)
            row[7:9] = f"{arm.settings.steps:,}", ratio
        rows.append(row[: len(heads)])
    print_table(heads, rows)
