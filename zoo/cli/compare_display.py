"""How a comparison is shown while it goes: a table on a terminal, a line a run elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.cli.output import console, duration, plain_table, say
from zoo.cli.parameters import with_flags
from zoo.cli.progress import Speaker
from zoo.lab.compare.format import format_value
from zoo.lab.compare.grid import GridListener
from zoo.lab.compare.plan import Arm, Plan, Trial
from zoo.lab.compare.progress import RunProgress
from zoo.lab.compare.results import metric_of
from zoo.lab.compare.trial import Outcome

if TYPE_CHECKING:
    from rich.table import Table

SECONDS_BETWEEN_FRAMES = 0.25


@contextmanager
def live_listener() -> Iterator[GridListener]:
    """What suits the place where stderr goes; the table is gone when the block ends."""
    if not sys.stderr.isatty() or console(sys.stderr).is_dumb_terminal:
        yield Lines()
        return
    from rich.live import Live

    with Live(console=console(sys.stderr), auto_refresh=False, transient=True) as live:
        yield Board(live)


def runs(count: int) -> str:
    """So many runs."""
    return f"{count:,} runs" if count != 1 else "1 run"


class Tally(GridListener):
    """Keeps count."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.done: dict[Trial, Outcome] = {}
        self.under_way: dict[Trial, RunProgress] = {}
        self.started = time.monotonic()
        self.found = 0
        self.speaker = Speaker()

    def begin(self, plan: Plan) -> None:
        """The comparison starts."""
        self.plan, self.started = plan, time.monotonic()

    def progress(self, progress: RunProgress) -> None:
        """A run has got so far."""
        if progress.trial not in self.done:
            self.under_way[progress.trial] = progress

    def ended(self, trial: Trial, outcome: Outcome, *, found: bool) -> None:
        """A run has ended, or was found to have ended earlier."""
        self.under_way.pop(trial, None)
        self.done[trial] = outcome
        self.found += found

    def notice(self, text: str) -> None:
        """Something that the user should know."""
        self.speaker.notice(text)

    def figure(self, outcome: Outcome) -> str:
        """The result of a run."""
        if outcome.summary is None:
            return f"failed: {with_flags(outcome.error or '')}"
        return format_value(outcome.summary.value, outcome.summary.metric)


class Lines(Tally):
    """A plain line on stderr for each run that has ended."""

    def begin(self, plan: Plan) -> None:
        """Say what there is to do."""
        super().begin(plan)
        with self.speaker.speaking():
            say(f"{runs(plan.runs)}, {plan.jobs} at a time")

    def ended(self, trial: Trial, outcome: Outcome, *, found: bool) -> None:
        """Say the result of a run."""
        super().ended(trial, outcome, found=found)
        if found or self.plan is None:
            return
        arm = self.plan.arms[trial.arm]
        seconds = duration(outcome.summary.seconds) if outcome.summary is not None else ""
        kind = "trying " if trial.sweep else ""
        columns = (arm.data, arm.pattern, f"{kind}lr {trial.lr:g}", f"seed {trial.seed}", self.figure(outcome), seconds)
        with self.speaker.speaking():
            say("  ".join((f"{len(self.done)}/{self.plan.runs}", *columns)).rstrip())


class Board(Tally):
    """A table on a terminal: a row an arm, with what has ended and what is under way."""

    def __init__(self, live: "object") -> None:
        super().__init__()
        self._live, self._last_frame = live, 0.0

    def moment(self) -> None:
        """Draw the table anew, a few times a second at most."""
        now = time.monotonic()
        if self.plan is not None and now - self._last_frame >= SECONDS_BETWEEN_FRAMES:
            self._last_frame = now
            with self.speaker.speaking():
                self._live.update(self._table(self.plan), refresh=True)  # type: ignore[attr-defined]

    def _table(self, plan: Plan) -> "Table":
        from rich.text import Text

        rows = []
        for index, arm in enumerate(plan.arms):
            if arm.settings is None:
                rows.append((arm.data, arm.pattern, Text("failed", style="red"), with_flags(arm.error or "")))
                continue
            ended = [outcome for trial, outcome in self.done.items() if trial.arm == index]
            all_runs = len(plan.sweeps(index)) + len(plan.seeds)
            figures = " ".join(self.figure(o) for t, o in self.done.items() if t.arm == index and not t.sweep)
            now = "  ".join(
                self._now(arm, progress) for trial, progress in self.under_way.items() if trial.arm == index
            )
            style = "green" if len(ended) == all_runs else "cyan" if now else "dim"
            rows.append(
                (arm.data, arm.pattern, Text(f"{len(ended)}/{all_runs}", style=style), f"{figures}  {now}".strip())
            )
        table = plain_table(("data", "pattern", "runs", ""), rows)
        table.caption = (
            f"{len(self.done)}/{plan.runs} runs, {duration(time.monotonic() - self.started)}{self._left(plan)}"
        )
        table.caption_justify = "left"
        return table

    def _now(self, arm: Arm, progress: RunProgress) -> str:
        metric = metric_of(arm.data)
        validation = progress.accuracy if metric == "accuracy" else progress.loss
        far = f"step {progress.step:,}/{progress.steps:,}"
        return far if validation is None else f"{far} {format_value(validation, metric)}"

    def _left(self, plan: Plan) -> str:
        """How long the rest may take, if runs go on as those before."""
        made = len(self.done) - self.found
        share = sum(progress.step / progress.steps for progress in self.under_way.values())
        if made + share < 1:
            return ""
        pace = (time.monotonic() - self.started) / (made + share)
        return f", about {duration(pace * (plan.runs - len(self.done) - share))} left"
