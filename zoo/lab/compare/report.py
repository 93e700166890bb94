"""The page of a comparison, and the files beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.files.environment import describe_environment
from zoo.files.strict_json import to_json
from zoo.lab.compare.export import results_as_json, results_table, timings_table
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.format import (
    UNITS,
    count,
    format_difference,
    format_estimate,
    format_guess,
    format_judgement,
    format_lr,
    format_noise_floor,
    format_ratio,
    format_solve_rate,
    format_value,
    metric_title,
    noise_floor_columns,
    verdict,
)
from zoo.lab.compare.plan import Plan
from zoo.lab.compare.plots import Picture, pictures_of
from zoo.lab.compare.results import (
    ArmResult,
    DataResult,
    Results,
    value_of,
)
from zoo.pages.page import flat, markup, printable, render_page
from zoo.pages.picture import save_picture, svg_of
from zoo.train.settings import Settings

ENVIRONMENT = "environment.json"


def write_results(results: Results, folder: Folder, *, incomplete: str = "") -> None:
    """Write results.csv, results.json, timings.csv, the pictures and report.html.

    Args:
        results: of all runs, or of those that have ended.
        folder: of the comparison.
        incomplete: what is missing, in words; empty if nothing is.

    Raises:
        ZooError: a file cannot be written.
    """
    folder.write("results.json", to_json(results_as_json(results)))
    folder.write("results.csv", results_table(results))
    folder.write("timings.csv", timings_table(results))
    environment = _environment(results)
    folder.write(ENVIRONMENT, to_json(environment))
    pictures = {
        data: [_saved(picture, folder) for picture in some] for data, some in pictures_of(results, folder).items()
    }
    folder.write("report.html", _page(results, folder, pictures, environment, incomplete))


def _saved(picture: Picture, folder: Folder) -> dict[str, Any]:
    """Write a picture; what the page shows of it."""
    stem = folder.path / "plots" / picture.name
    stem.parent.mkdir(exist_ok=True)
    svg, _ = save_picture(picture.draw, stem)
    return {"title": picture.title, "svg": markup(svg_of(svg.read_text(encoding="utf-8")))}


def _page(
    results: Results,
    folder: Folder,
    pictures: Mapping[str, Sequence[Mapping[str, Any]]],
    environment: Mapping[str, Any],
    incomplete: str,
) -> str:
    plan = results.plan
    return render_page(
        "zoo.lab.compare/report.html.j2",
        name=folder.path.resolve().name,
        incomplete=incomplete,
        changed=[str(plugin) for plugin in results.changed],
        machines=str(results.machines) if results.machines.differ else "",
        command=plan.command,
        seeds=f"on {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else "on one seed",
        matching=_matching(results),
        choosing=_choosing(results),
        lrs=[format_lr(lr) for lr in plan.lrs],
        overview=pictures.get("", []),
        noise_floor=noise_floor_table(results) if plan.noise_floor else None,
        each=[_one(result, pictures[result.data], plan) for result in results.data],
        environment=list(flat(environment)),
    )


def _one(result: DataResult, pictures: Sequence[Mapping[str, Any]], plan: Plan) -> dict[str, Any]:
    return {
        "name": printable(result.data),
        "anchor": f"data-{result.arms[0].index}",
        "sha256": plan.checksums[result.data],
        "verdict": verdict(result),
        "guess": format_guess(result),
        "small": f"{format_difference(result.min_effect, result.metric)} {UNITS[result.metric]}",
        "columns": columns(result),
        "rows": rows(result, plan.match),
        "failures": [(arm.arm.pattern, arm.error) for arm in result.arms if arm.error],
        "pictures": pictures,
        "differences": [format_judgement(judgement, result) for judgement in result.judgements],
        "sweep": _sweep(result),
        "letters": bool(result.letters),
        "solved": result.solved is not None,
        "settings": list(flat(_common(result))),
    }


def columns(result: DataResult) -> list[str]:
    """The heads of the table of one text or task; the last one only where sizes were made equal."""
    sizes = ["width", "parameters", "FLOPs/token", "state"]
    return [
        "pattern",
        metric_title(result.metric, result.unit),
        *([] if result.guess is None else ["guessing (%)"]),
        *([] if result.solved is None else [f"solved ({format_value(result.solved, 'accuracy')})"]),
        *(["group"] if result.letters else []),
        "by seed",
        "steps",
        "lr",
        *sizes,
        *(["match"] if _matched(result) else []),
    ]


def rows(result: DataResult, match: str = "none") -> list[list[str]]:
    """The rows of that table, a pattern each."""
    return [_row(arm, result, match) for arm in result.arms]


def noise_floor_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """How far seeds alone move the figures, a text or task a row: the heads and the rows."""
    heads = ["data", *noise_floor_columns(result.metric for result in results.data)]
    rows = []
    for result in results.data:
        floor = result.noise_floor(result.arms[0])
        cells = ["failed", *[""] * (len(heads) - 2)] if floor is None else format_noise_floor(floor, result.metric)
        rows.append([result.data, *cells])
    return heads, rows


def _matched(result: DataResult) -> bool:
    return any(arm.arm.ratio is not None for arm in result.arms)


def _row(arm: ArmResult, result: DataResult, match: str) -> list[str]:
    settings, size = arm.arm.settings, arm.arm.size
    if settings is None or size is None:
        return [arm.arm.pattern, "failed", *["n/a"] * (len(columns(result)) - 2)]
    ended = [value_of(outcome, result.metric) for outcome in arm.runs.values() if outcome.is_over]
    seeds = [format_value(value, result.metric).removesuffix(" %") for value in ended]
    steps = [outcome.summary.steps for outcome in arm.runs.values() if outcome.summary is not None]
    few, many = (min(steps), max(steps)) if steps else (0, 0)
    experts = f" ({count(size.active_parameters)} active)" if size.active_parameters != size.parameters else ""
    hidden = settings.channel_mixer_call.keywords.get("hidden")
    width = [f"{settings.dim}", *([f"hidden {hidden}"] if hidden is not None else [])]
    width += [f"{settings.heads} heads"] if len({each.heads for each in _all_settings(result)}) > 1 else []
    return [
        arm.arm.pattern,
        format_estimate(arm.estimate, result.metric),
        *([] if result.guess is None else [format_value(result.guess, "accuracy").removesuffix(" %")]),
        *([] if result.solved is None else [format_solve_rate(result.solve_rate(arm))]),
        *([result.letters.get(arm.arm.pattern, "n/a")] if result.letters else []),
        ", ".join(seeds),
        f"{few:,}" if few == many else f"{few:,} to {many:,}",
        format_lr(arm.lr),
        ", ".join(width),
        count(size.parameters) + experts,
        count(size.training_flops),
        count(size.state),
        *([format_ratio(arm.arm.ratio, match)] if _matched(result) else []),
    ]


def _all_settings(result: DataResult) -> list[Settings]:
    return [arm.arm.settings for arm in result.arms if arm.arm.settings is not None]


def _sweep(result: DataResult) -> list[list[str]]:
    rows = []
    for arm in result.arms:
        if arm.sweep:
            tried = [format_value(value_of(outcome, result.metric), result.metric) for outcome in arm.sweep.values()]
            rows.append([arm.arm.pattern, *tried, format_lr(arm.lr)])
    return rows


def _common(result: DataResult) -> dict[str, Any]:
    """The settings that all patterns share."""
    made = [settings.model_dump() for settings in _all_settings(result)]
    first, own = (made[0] if made else {}), {"seed", "lr", "mixer"}
    return {name: value for name, value in first.items() if name not in own and all(m[name] == value for m in made)}


def _matching(results: Results) -> str:
    words = {"params": "parameters", "flops": "floating-point operations per token", "state": "numbers of state"}
    if results.plan.match == "none":
        return "Sizes were not made equal."
    first = results.plan.arms[0].pattern
    return (
        f"Every model has about as many {words[results.plan.match]} as that of {first}, by its width and the hidden "
        "width of its channel mixer; how near it came stands under match."
    )


def _choosing(results: Results) -> str:
    plan = results.plan
    if len(plan.lrs) < 2:
        return "One learning rate was used for all."
    tried = ", ".join(format_lr(lr) for lr in plan.lrs)
    return (
        f"For each pattern the learning rates {tried} were tried on a seed of their own ({plan.sweep_seed}), whose "
        "results are not counted; the best was taken."
    )


def _environment(results: Results) -> dict[str, Any]:
    made = [settings for result in results.data for settings in _all_settings(result)]
    saved = describe_environment(plugins=results.plan.plugins, data_sha256="", device=_device(made))
    return {name: value for name, value in saved.items() if name not in {"data_sha256", "threads"}}


def _device(made: Sequence[Settings]) -> str:
    return made[0].device if made else "cpu"
