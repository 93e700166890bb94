"""All runs of a comparison, made side by side; what is there already is not made again."""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from zoo.executor import Executor
from zoo.lab.compare.executors import create_executor
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.job import Job
from zoo.lab.compare.plan import Plan, Trial
from zoo.lab.compare.pool import Pool, working
from zoo.lab.compare.progress import RunProgress
from zoo.lab.compare.trial import Outcome, Text, read_outcome
from zoo.train.find_data import find_source
from zoo.train.interrupts import Interrupts
from zoo.train.machine import check_device
from zoo.train.plugins import check_plugins, plugins_of
from zoo.train.settings import Settings


class GridInterrupted(Exception):  # noqa: N818 - nothing went wrong
    """The user stopped the comparison; every run was saved."""


class GridListener:
    """Whoever looks on while a comparison is made. This one is silent; a subclass shows what it likes."""

    def begin(self, plan: Plan) -> None:
        """The comparison starts."""

    def progress(self, progress: RunProgress) -> None:
        """A run has got so far."""

    def ended(self, trial: Trial, outcome: Outcome, *, found: bool) -> None:
        """A run has ended, or was found to have ended earlier."""

    def moment(self) -> None:
        """Some time has passed."""

    def notice(self, text: str) -> None:
        """Something that the user should know."""


@dataclass
class Grid:
    """The runs of a comparison, and what became of them so far.

    Attributes:
        on: the executor that makes them, one run at a time; or its name with its options; None for that of the plan.
    """

    plan: Plan
    folder: Folder
    listener: GridListener = field(default_factory=GridListener)
    on: str | Executor | None = None
    outcomes: dict[Trial, Outcome] = field(default_factory=dict)
    texts: dict[str, Text] = field(default_factory=dict)
    """Where the texts lie now, by name."""
    _jobs: int = field(default=1, init=False)
    _local: bool = field(default=True, init=False)

    def run(self) -> None:
        """Make every run that is not there yet.

        An arm's learning rate is chosen as soon as its own sweep is over.

        Raises:
            GridInterrupted: Ctrl-C; every run was saved.
            UsageError: a mixer, the data or the device is not there, or a run cannot be resumed.
            PluginError: a plugin is missing or broken.
            ZooError: a run was lost too often, or could not be saved.
        """
        executor, self._jobs = self._executor()
        self._local = executor.local
        changed, self.texts = _check(self.plan, executor)
        self.listener.begin(self.plan)
        for change in changed:
            self.listener.notice(f"{change}: runs that are made from now on are not those of the same mixer or task")
        notice = "saving every run after its step; Ctrl-C again stops now"
        pool_of = partial(working, executor, self.folder, jobs=self._jobs, notice=self.listener.notice)
        with Interrupts(lambda: self.listener.notice(notice)) as interrupts, pool_of() as pool:
            for trial in self._first():
                self._take(trial, pool)
            while pool.are_busy:
                if interrupts.requested or self.folder.is_to_stop:
                    pool.stop()
                self._listen(pool)
        if not self.is_over:
            raise GridInterrupted

    def _executor(self) -> tuple[Executor, int]:
        """What makes the runs, and how many at a time.

        Where it is another one than was planned, this machine is not asked for more runs at a time than it has cores.
        """
        if isinstance(self.on, Executor):
            return self.on, 1
        name, jobs = self.on or self.plan.on, self.plan.jobs
        executor = create_executor(name, jobs=jobs)
        cores = torch.get_num_threads()
        if self.on is None or not executor.local or jobs <= cores:
            return executor, jobs
        return create_executor(name, jobs=cores), cores

    @property
    def is_over(self) -> bool:
        """Whether every run has ended."""
        return sum(outcome.is_over for outcome in self.outcomes.values()) == self.plan.runs

    def _first(self) -> list[Trial]:
        trials: list[Trial] = []
        for index, arm in enumerate(self.plan.arms):
            if arm.settings is not None:
                trials += self.plan.sweeps(index) or self.plan.results(index, self.plan.only_lr(index))
        return trials

    def _take(self, trial: Trial, pool: Pool) -> None:
        """Make a run, or take its earlier outcome."""
        path = self.folder.trial(self.plan, trial)
        outcome = read_outcome(path)
        if outcome.is_over:
            self._end(trial, outcome, pool, found=True)
        else:
            text, settings = self.texts.get(self.plan.arms[trial.arm].data), self._settings(trial)
            pool.submit(Job(trial, self.folder.path, path, settings, text, plugins_of(settings)))

    def _settings(self, trial: Trial) -> Settings:
        """Those of a run. What was planned for other machines leaves the threads open, which runs here share."""
        settings = self.plan.settings(trial)
        if self._local and settings.threads is None:
            return settings.model_copy(update={"threads": max(1, torch.get_num_threads() // self._jobs)})
        return settings

    def _listen(self, pool: Pool) -> None:
        ended, made = pool.poll()
        for progress in made:
            self.listener.progress(progress)
        for job, outcome in ended:
            self._end(job.trial, outcome, pool, found=False)
        self.listener.moment()

    def _end(self, trial: Trial, outcome: Outcome, pool: Pool, *, found: bool) -> None:
        self.outcomes[trial] = outcome
        if not outcome.is_over:
            return
        self.listener.ended(trial, outcome, found=found)
        if trial.sweep:
            lr = chosen_lr(self.plan, trial.arm, self.outcomes)
            if lr is not None:
                for following in self.plan.results(trial.arm, lr):
                    self._take(following, pool)


def _check(plan: Plan, executor: Executor) -> tuple[list[str], dict[str, Text]]:
    """Refuse what would make all runs fail, or make them runs of something else.

    Returns:
        What else has changed, in words, and where the texts lie now.
    """
    changed, checked = list(check_plugins(plan.plugins).values()), set[str]()
    texts: dict[str, Text] = {}
    for arm in plan.arms:
        if arm.settings is None:
            continue
        if executor.local:
            check_device(arm.settings.device)
        if arm.data in checked:
            continue
        checksum, recorded = plan.checksums[arm.data], plan.paths.get(arm.data)
        _, place = find_source(arm.settings, sha256=checksum, recorded=recorded, owner="comparison")
        checked.add(arm.data)
        if place is not None:
            texts[arm.data] = Text(place, checksum)
    return changed, texts


def chosen_lr(plan: Plan, arm: int, outcomes: dict[Trial, Outcome]) -> float | None:
    """The learning rate whose sweep run was best; None while one of them is not over.

    Where all have failed it is the lowest.
    """
    sweeps = plan.sweeps(arm)
    if not sweeps:
        return plan.only_lr(arm)
    if not all(outcomes.get(trial, Outcome()).is_over for trial in sweeps):
        return None
    losses = {trial.lr: _loss(outcomes[trial]) for trial in sweeps}
    return min(losses, key=lambda lr: (losses[lr], lr))


def _loss(outcome: Outcome) -> tuple[float, float]:
    """What a learning rate is chosen by: the error rate, and among equals the loss."""
    summary = outcome.summary
    if summary is None or math.isnan(summary.validation_loss):
        return (math.inf, math.inf)
    wrong = 1 - summary.validation_accuracy if summary.metric == "accuracy" else 0.0
    return (wrong, summary.validation_loss)
