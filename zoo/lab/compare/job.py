"""A run of a comparison as it is handed to another process, here or elsewhere, and what that does with it."""

import os
import pickle
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import UsageError, ZooError
from zoo.files.atomic import BusyError
from zoo.files.claim import Claim, LostClaimError
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.plan import Trial
from zoo.lab.compare.trial import Outcome, Text, read_outcome, run_trial
from zoo.plugin.files import ENVIRONMENT
from zoo.plugin.registry import forget
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener, Progress
from zoo.train.plugins import check_plugins
from zoo.train.settings import Settings

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Job:
    """A run to make: where, and with which settings. It can be pickled.

    Attributes:
        comparison: the folder of the comparison.
        folder: of the run, in that of the comparison.
        text: where its text lies, if it learns one of the user's own.
        plugins: what gives the mixers and the task, as `zoo.train.plugins.plugins_of` records it.
        working_directory: from which paths are seen.
        plugin_files: the files that were passed as plugins, as the environment has them.
    """

    trial: Trial
    comparison: Path
    folder: Path
    settings: Settings
    text: Text | None = None
    plugins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    working_directory: str = field(default_factory=os.getcwd)
    plugin_files: str = field(default_factory=lambda: os.environ.get(ENVIRONMENT, ""))

    @property
    def claim(self) -> Path:
        """The file that the process has made which makes the run."""
        return self.folder.with_name(f".{self.folder.name}.claim")


def make_run(job: Job) -> Outcome | Exception:
    """Bring a run to its end, from wherever it stands; this is what a worker is asked to do.

    If another process makes the same run, this one waits until it has ended, or until it is dead.

    Returns:
        What became of the run, which is not over if all were asked to stop; or what is not the fault of the run.
    """
    try:
        with _as_in_the_leader(job):
            return _made(job)
    except Exception as error:
        error.add_note(traceback.format_exc())  # for --debug: a traceback does not go from process to process
        return _portable(error)


def _made(job: Job) -> Outcome:
    asked, claim = _StopFile(Folder(job.comparison)), Claim(job.claim)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        outcome = read_outcome(job.folder)
        if outcome.is_over or asked.requested:
            return outcome
        if claim.take():
            with claim:
                try:
                    listener = _Claimant(claim)
                    return run_trial(job.folder, job.settings, listener=listener, interrupts=asked, text=job.text)
                except (LostClaimError, BusyError):
                    pass  # another process is at work there after all: what it makes of the run will do
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def _as_in_the_leader(job: Job) -> Iterator[None]:
    """Have paths and plugins mean what they mean in the process that planned the comparison.

    Raises:
        UsageError: the folder is not seen from here.
        PluginError: a plugin is not installed here.
    """
    before = Path.cwd()
    try:
        os.chdir(job.working_directory)
    except OSError:
        raise _not_shared(Path(job.working_directory)) from None
    try:
        if not Folder.holds_one(job.comparison):
            raise _not_shared(job.comparison)
        if os.environ.get(ENVIRONMENT, "") != job.plugin_files:
            os.environ[ENVIRONMENT] = job.plugin_files
            forget()
        check_plugins(job.plugins)
        yield
    finally:
        os.chdir(before)


def _not_shared(path: Path) -> UsageError:
    return UsageError(
        f"{platform.node()} does not see {path}: whoever makes runs needs a file system that is shared with the "
        "process that compares"
    )


def _portable(error: Exception) -> Exception:
    """The error itself if it can be pickled, or one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ZooError(f"{type(error).__name__}: {error}")
    return error


class _StopFile(Interrupts):
    """A request to stop that is a file in the folder of the comparison. Signals ask for nothing here."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self._looked, self._found = folder, -_SECONDS_BETWEEN_LOOKS, False
        super().__init__()

    def __enter__(self) -> "_StopFile":
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to put back."""

    @property
    def requested(self) -> bool:
        """Whether the file is there; it is looked for a few times a second at most."""
        now = time.monotonic()
        if not self._found and now - self._looked >= _SECONDS_BETWEEN_LOOKS:
            self._looked, self._found = now, self._folder.is_to_stop
        return self._found

    @requested.setter
    def requested(self, value: bool) -> None:
        """Nothing else asks."""


class _Claimant(Listener):
    """Tells how far the run is, and ends it when another process has taken over."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    def progress(self, progress: Progress) -> None:
        """After each step, and before what it may save."""
        self._claim.tell(step=progress.step)
        self._claim.check()
