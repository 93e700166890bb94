"""A comparison from Python: what ``zoo compare`` does, with the figures as an object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.api.members import files_of, is_of_this_process, pattern_of, patterns_of, settings_of, text_of, threads_kept
from zoo.api.progress import Line, progress_line
from zoo.lab.compare.executors import DEFAULT, read_executor
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.format import format_guess, format_value, verdict
from zoo.lab.compare.grid import GridListener
from zoo.lab.compare.here import ThisProcess
from zoo.lab.compare.plan import Plan, Trial
from zoo.lab.compare.plots import pictures_of
from zoo.lab.compare.progress import RunProgress
from zoo.lab.compare.report import columns, noise_floor_table, rows
from zoo.lab.compare.request import (
    Request,
    check_request,
    read_budget,
    read_data,
    read_match,
    read_patterns,
    read_solved,
)
from zoo.lab.compare.results import DataResult, Results
from zoo.lab.compare.session import GridInterrupted, create_comparison, run_comparison
from zoo.lab.compare.trial import Outcome
from zoo.lab.tier import find_tier
from zoo.pages.page import markup, printable, render_fragment
from zoo.pages.picture import Picture
from zoo.plugin.classes import Layers, Member
from zoo.plugin.isolation import random_numbers_kept
from zoo.train.plugins import plugins_of

_PICTURES = 2
"""Of each text or task, that a notebook shows: the curves and the means. The page of the comparison has all."""


@dataclass(frozen=True)
class Comparison:
    """A comparison that has ended. ``str`` of it says what came out, in a paragraph for each text or task.

    A notebook shows the conclusions, the table and the pictures of each.

    Attributes:
        folder: with tables, plots and ``report.html``.
        results: the figures, by text or task and by pattern.
        notices: what the user should know, e.g. that not all runs are of the same code.
    """

    folder: Path
    results: Results
    notices: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The page of the comparison, to open in a browser."""
        return self.folder / "report.html"

    def plots(self, data: str | None = None) -> list[Picture]:
        """The pictures of a text or task, by its name; None for those of all together, or of the only one.

        Raises:
            KeyError: nothing was compared on it.
        """
        pictures = pictures_of(self.results, Folder(self.folder))
        name = next(iter(pictures)) if data is None and len(self.results.data) == 1 else data or ""
        return [Picture(picture.title, picture.draw) for picture in pictures[name]]

    def __repr__(self) -> str:
        patterns = list(dict.fromkeys(arm.arm.pattern for result in self.results.data for arm in result.arms))
        data = ", ".join(result.data for result in self.results.data)
        return f"Comparison({str(self.folder)!r}: {', '.join(patterns)} on {data})"

    def __str__(self) -> str:
        return "\n\n".join(f"{result.data}: {_conclusion(result)}" for result in self.results.data)

    def _repr_html_(self) -> str:
        return render_fragment(
            "zoo.api/compare.html.j2",
            notices=[printable(text) for text in self.notices],
            each=[
                {
                    "name": printable(result.data),
                    "conclusion": _conclusion(result),
                    "columns": columns(result),
                    "rows": rows(result, self.results.plan.match),
                    "failures": [(arm.arm.pattern, printable(arm.error)) for arm in result.arms if arm.error],
                    "pictures": [
                        (picture.title, markup(picture.image)) for picture in self.plots(result.data)[:_PICTURES]
                    ],
                }
                for result in self.results.data
            ],
            noise_floor=noise_floor_table(self.results) if self.results.plan.noise_floor else None,
            report=printable(str(self.report)),
        )


def compare(
    patterns: Sequence[Layers],
    *,
    data: Member | Sequence[Member] = "python-stdlib",
    tier: str = "smoke",
    seeds: int | None = None,
    lrs: Sequence[float] | None = None,
    match: str = "none",
    budget: str | None = None,
    solved: float | str | None = None,
    noise_floor: bool = False,
    jobs: int | None = None,
    on: str = DEFAULT,
    out: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Comparison:
    """Compare mixers fairly, as ``zoo compare`` does. A comparison that was started in `out` is resumed.

    Every run has a process of its own, started as `multiprocessing` starts them: a script keeps the call behind
    ``if __name__ == "__main__":``. With a class that only this process knows, e.g. of a notebook, all runs are made in
    this process, one after the other. A class that is named by its file, ``"./mine.py:Mine"``, is known to all.

    Args:
        patterns: of token mixers, or classes; the first one is what the others are made as big as.
        data: texts and tasks.
        tier: where the settings start from: ``"smoke"``, ``"laptop"`` or ``"paper"``.
        seeds: how many; None for those of the tier.
        lrs: learning rates to try; None for those of the tier.
        match: what is made equal: ``"none"``, ``"params"``, ``"flops"`` or ``"state"``.
        budget: ``"steps:2000"``, ``"seconds:90"`` or ``"flops:1e13"``; None for the steps of the tier.
        solved: the accuracy from which on a task is solved, ``0.99`` or ``"99%"``; None for that of each task.
        noise_floor: measure how far seeds alone move the figures of one pattern, on 20 seeds if `seeds` says no other
            number.
        jobs: runs at a time; None for as many as the machine has cores, or for all where others make them.
        on: the executor that makes the runs: ``"processes"``, or that of a plugin, ``"dask:tcp://HOST:PORT"``.
        out: the folder; None for a new one in ``comparisons/``.
        progress: show how far it is, in a notebook or on a terminal.
        settings: of every run, by name: ``dim=64, layers=2``.

    Raises:
        UsageError: a mistake in any pattern, text or setting, before anything is trained; a class that only this
            process knows, with several `jobs` or another executor.
        KeyboardInterrupt: Ctrl-C, or the stop button of a notebook. After the first one every run is saved, and the
            text says how the comparison is resumed.
    """
    given = patterns_of(patterns)
    named_data = [text_of(each) for each in (data if isinstance(data, list | tuple) else [data])]
    named_settings, channel = settings_of(settings), settings.get("channel_mixer")
    files = files_of([*given, channel] if isinstance(channel, str) else given)
    with files, random_numbers_kept(), threads_kept():
        request = Request(
            patterns=read_patterns([pattern_of(pattern) for pattern in given]),
            data=read_data(named_data),
            tier=tier,
            seeds=seeds,
            lrs=None if lrs is None else tuple(sorted(set(lrs))),
            match=read_match(match),
            budget=None if budget is None else read_budget(budget),
            settings=named_settings,
            solved=None if solved is None else read_solved(str(solved)),
            noise_floor=noise_floor,
            jobs=jobs,
            on=read_executor(on),
        )
        here = jobs in (None, 1) and request.on == DEFAULT and _is_of_this_process(request)
        with progress_line(progress) as line:
            line.show("building every model once")
            plan, folder = create_comparison(
                replace(request, jobs=1) if here else request,
                root=Path("comparisons"),
                out=None if out is None else Path(out),
                here=here,
            )
            results = _watched(plan, folder, line, ThisProcess() if here else None)
        return Comparison(folder.path, results, tuple(line.notices))


def _is_of_this_process(request: Request) -> bool:
    """Whether a run of it would use a class that only this process knows."""
    check_request(request)
    tier = find_tier(request.tier)
    made = (tier.settings(pattern, data, request.settings) for data in request.data for pattern in request.patterns)
    return any(is_of_this_process(plugins_of(settings)) for settings in made)


def _watched(plan: Plan, folder: Folder, line: Line, on: ThisProcess | None) -> Results:
    try:
        return run_comparison(plan, folder, _ComparisonLine(line), on=on)
    except GridInterrupted:
        raise KeyboardInterrupt(
            f"stopped, every run saved; resume with the same call and out={str(folder.path)!r}"
        ) from None


def _conclusion(result: DataResult) -> str:
    return " ".join(filter(None, [verdict(result), format_guess(result)]))


class _ComparisonLine(GridListener):
    """A comparison in a line: the runs that have ended, and how far the others are."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._plan: Plan | None = None
        self._ended, self._latest = set[Trial](), ""
        self._under_way: dict[Trial, RunProgress] = {}

    def begin(self, plan: Plan) -> None:
        """Keep what there is to do."""
        self._plan = plan

    def progress(self, progress: RunProgress) -> None:
        """Count the part of a run."""
        if progress.trial not in self._ended:
            self._under_way[progress.trial] = progress

    def ended(self, trial: Trial, outcome: Outcome, *, found: bool) -> None:  # noqa: ARG002 - the listener has it
        """Show the result of a run."""
        self._ended.add(trial)
        self._under_way.pop(trial, None)
        assert self._plan is not None
        summary = outcome.summary
        figure = "failed" if summary is None else format_value(summary.value, summary.metric)
        self._latest = f"  {self._plan.arms[trial.arm].pattern}, seed {trial.seed}: {figure}"

    def moment(self) -> None:
        """Show how far all of it is."""
        if self._plan is None:
            return
        parts = sum(each.step / max(1, each.steps) for each in self._under_way.values())
        text = f"{len(self._ended)} of {self._plan.runs} runs{self._latest}"
        self._line.show(text, len(self._ended) + parts, self._plan.runs)

    def notice(self, text: str) -> None:
        """Pass it on."""
        self._line.notice(text)
