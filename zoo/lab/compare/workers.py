"""Processes that make runs side by side, each on its own threads, and tell how they get on."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.lab.compare.plan import Trial
from zoo.lab.compare.trial import Outcome, run_trial
from zoo.train.display import Display, Progress
from zoo.train.interrupts import Interrupts
from zoo.train.settings import Settings

_SECONDS_BETWEEN_WORDS = 0.3
_POLL = 0.1


@dataclass(frozen=True)
class Job:
    """A run to make: where, and with which settings."""

    trial: Trial
    folder: Path
    settings: Settings


@dataclass(frozen=True)
class Word:
    """How far a run is, as its worker last said.

    Attributes:
        accuracy: at the last evaluation; None before the first.
        loss: held out, likewise.
    """

    trial: Trial
    step: int
    steps: int
    accuracy: float | None = None
    loss: float | None = None


class Workers:
    """A pool of processes. Made by `working`."""

    def __init__(self, pool: ProcessPoolExecutor, stop: Any, words: Any) -> None:
        self._pool, self._stop, self._words = pool, stop, words
        self._running: dict[Future[Outcome], Job] = {}

    def submit(self, job: Job) -> None:
        """Have a run made when a worker is free; not any more once all were asked to stop."""
        if not self._stop.is_set():
            self._running[self._pool.submit(_work, job)] = job

    def stop(self) -> None:
        """Ask all runs to save and end after their step; those that wait do not begin."""
        self._stop.set()
        for future in self._running:
            future.cancel()

    def kill(self) -> None:
        """End the processes where they stand; what was saved stays."""
        for process in multiprocessing.active_children():
            process.terminate()

    @property
    def are_busy(self) -> bool:
        """Whether a run is under way or waits."""
        return bool(self._running)

    def hear(self) -> tuple[list[tuple[Job, Outcome]], list[Word]]:
        """Wait a moment; the runs that have ended since, and what was said.

        Raises:
            Exception: what a worker failed with that is no fault of the run.
        """
        done, _ = wait(self._running, timeout=_POLL, return_when=FIRST_COMPLETED)
        words = []
        while not self._words.empty():
            words.append(self._words.get())
        ended = []
        for future in done:
            job = self._running.pop(future)
            ended.append((job, Outcome() if future.cancelled() else future.result()))
        return ended, words


@contextmanager
def working(jobs: int) -> Iterator[Workers]:
    """A pool of so many processes, which is gone when the block ends."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    stop, words = context.Event(), context.SimpleQueue()
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(stop, words))
    workers = Workers(pool, stop, words)
    try:
        yield workers
    except BaseException:
        workers.stop()
        workers.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_stop: Any = None
_words: Any = None


def _begin(stop: Any, words: Any) -> None:
    """What a process does first: leave Ctrl-C, which the terminal sends to all, to the one that leads."""
    global _stop, _words
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stop, _words = stop, words


def _work(job: Job) -> Outcome:
    return run_trial(job.folder, job.settings, display=_Telling(job.trial, job.settings.steps), interrupts=_Asked())


class _Asked(Interrupts):
    """A request to stop that comes from another process."""

    def __init__(self) -> None:
        super().__init__()

    @property
    def requested(self) -> bool:
        return bool(_stop.is_set())

    @requested.setter
    def requested(self, value: bool) -> None:
        if value:  # a SIGTERM of its own
            _stop.set()


class _Telling(Display):
    """Tells the leading process how far the run is, a few times a second at most."""

    def __init__(self, trial: Trial, steps: int) -> None:
        self._trial, self._steps, self._last = trial, steps, 0.0
        self._accuracy: float | None = None
        self._loss: float | None = None

    def progress(self, progress: Progress) -> None:
        """A step was made."""
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_WORDS:
            self._last = time.monotonic()
            _words.put(Word(self._trial, progress.step, self._steps, self._accuracy, self._loss))

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:
        """What is held out was measured."""
        del sample
        self._accuracy, self._loss = validation_accuracy, validation_loss
        _words.put(Word(self._trial, step, self._steps, validation_accuracy, validation_loss))
