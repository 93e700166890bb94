"""The runs that an executor makes: handed out, handed in again when a process or a machine is lost, and stopped."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress

from zoo.errors import ZooError
from zoo.executor import Executor
from zoo.lab.compare.folder import Folder
from zoo.lab.compare.job import Job, make_run
from zoo.lab.compare.plan import Trial
from zoo.lab.compare.progress import RunProgress, newest_step, read_progress
from zoo.lab.compare.trial import Outcome, read_outcome

TRIES = 3
"""So often a run is lost without having come further before the comparison gives up."""

_POLL = 0.1
_SECONDS_BETWEEN_READINGS = 0.5
_SHARE_OF_READING = 0.05
"""Of the time at most goes into reading how far the runs are: they may be many, and their files far away."""


class Pool:
    """Runs that are under way, and runs that wait. Made by `working`.

    Args:
        executor: makes them.
        folder: of the comparison.
        jobs: runs at a time.
        notice: takes what the user should know.
    """

    def __init__(self, executor: Executor, folder: Folder, *, jobs: int, notice: Callable[[str], None]) -> None:
        self._executor, self._folder, self._limit, self._notice = executor, folder, jobs, notice
        self._waiting, self._futures = deque[Job](), dict[Future[Outcome | Exception], Job]()
        self._lost: dict[Trial, tuple[int, int]] = {}
        self._stopped, self._next_reading = False, 0.0

    def submit(self, job: Job) -> None:
        """Have a run made when its turn comes; not any more once all were asked to stop."""
        if not self._stopped:
            self._waiting.append(job)
            self._hand_out()

    def stop(self) -> None:
        """Ask all runs to save and end after their step; those that wait do not start."""
        if not self._stopped:
            self._stopped = True
            self._waiting.clear()
            self._folder.ask_to_stop()
            for future in [future for future in self._futures if future.cancel()]:
                del self._futures[future]

    @property
    def are_busy(self) -> bool:
        """Whether a run is under way or waits."""
        return bool(self._waiting or self._futures)

    def poll(self) -> tuple[list[tuple[Job, Outcome]], list[RunProgress]]:
        """Wait a moment; the runs that have ended since, and the progress of the others.

        Raises:
            ZooError: a run was lost too often, or the executor takes no more.
            Exception: what a worker failed with that is not the fault of the run.
        """
        ended: list[tuple[Job, Outcome]] = []
        done, _ = wait(self._futures, timeout=_POLL, return_when=FIRST_COMPLETED)
        for future in done:
            job = self._futures.pop(future)
            outcome = self._outcome(job, future)
            if outcome is not None:
                ended.append((job, outcome))
        self._hand_out()
        return ended, self._progress()

    def _hand_out(self) -> None:
        while self._waiting and len(self._futures) < self._limit:
            job = self._waiting.popleft()
            try:
                future = self._executor.submit(make_run, job)
            except ZooError:
                raise
            except Exception as error:  # whatever a library says when its cluster is gone
                raise ZooError(f"the executor takes no more runs: {_reason(error)}") from error
            self._futures[future] = job

    def _outcome(self, job: Job, future: "Future[Outcome | Exception]") -> Outcome | None:
        """What became of a run; None if it was lost on the way and is handed in again.

        What the executor says of it is a hint. What counts is what lies in the folder of the run.
        """
        try:
            made = future.result()
        except Exception as error:
            made = read_outcome(job.folder)
            if not made.is_over and not self._stopped:
                self._hand_in_again(job, error)
                return None
        if isinstance(made, Exception):
            raise made
        return made

    def _hand_in_again(self, job: Job, error: Exception) -> None:
        reason = _reason(error)
        step = newest_step(job.folder)
        count, before = self._lost.get(job.trial, (0, step))
        count = count + 1 if step == before else 1
        self._lost[job.trial] = (count, step)
        if count > TRIES:
            raise ZooError(f"the run in {job.folder} was lost {count} times at the same place: {reason}") from error
        self._notice(f"a run was lost and is resumed: {reason} ({job.folder})")
        self._waiting.appendleft(job)

    def _progress(self) -> list[RunProgress]:
        began = time.monotonic()
        if began < self._next_reading:
            return []
        made = [progress for job in self._futures.values() if (progress := read_progress(job)) is not None]
        ended = time.monotonic()
        self._next_reading = ended + max(_SECONDS_BETWEEN_READINGS, (ended - began) / _SHARE_OF_READING)
        return made


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def working(executor: Executor, folder: Folder, *, jobs: int, notice: Callable[[str], None]) -> Iterator[Pool]:
    """A pool of runs, of which none is under way any more when the block ends."""
    folder.forget_stop()
    pool = Pool(executor, folder, jobs=jobs, notice=notice)
    try:
        yield pool
    except BaseException:
        with suppress(ZooError):  # the disk may be full, and what went wrong before is what counts
            folder.ask_to_stop()  # for what cannot be ended at once
        executor.terminate()
        raise
    executor.shutdown()
    folder.forget_stop()
