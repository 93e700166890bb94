"""Processes that make runs side by side, each on its own threads, and tell how they get on."""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from zoo.errors import ZooError
from zoo.lab.compare.plan import Trial
from zoo.lab.compare.trial import Outcome, Text, run_trial
from zoo.train.display import Display, Progress
from zoo.train.interrupts import Interrupts
from zoo.train.settings import Settings

_SECONDS_BETWEEN_WORDS = 0.3
_POLL = 0.1


@dataclass(frozen=True)
class Job:
    """A run to make: where, and with which settings.

    Attributes:
        text: where its text lies, if it learns one of the user's own.
    """

    trial: Trial
    folder: Path
    settings: Settings
    text: Text | None = None


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


@dataclass
class _Worker:
    """A process, the line to it, and the run that it is making."""

    process: BaseProcess
    line: Connection
    job: Job | None = None


class Workers:
    """As many processes as are needed, up to a number. Made by `working`."""

    def __init__(self, most: int) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._most, self._staff = most, list[_Worker]()
        self._waiting, self._stopped = deque[Job](), False

    def submit(self, job: Job) -> None:
        """Have a run made when a worker is free; not any more once all were asked to stop."""
        if not self._stopped:
            self._waiting.append(job)
            self._hand_out()

    def stop(self) -> None:
        """Ask all runs to save and end after their step; those that wait do not begin."""
        if not self._stopped:
            self._stopped = True
            self._waiting.clear()
            for worker in self._staff:
                with suppress(OSError):  # it has died, which `hear` tells
                    worker.line.send(None)

    def kill(self) -> None:
        """End the processes where they stand; what was saved stays."""
        for worker in self._staff:
            worker.process.kill()

    def join(self) -> None:
        """Wait until the processes are gone."""
        for worker in self._staff:
            worker.process.join()
            worker.line.close()

    @property
    def are_busy(self) -> bool:
        """Whether a run is under way or waits."""
        return bool(self._waiting) or any(worker.job for worker in self._staff)

    def hear(self) -> tuple[list[tuple[Job, Outcome]], list[Word]]:
        """Wait a moment; the runs that have ended since, and what was said.

        Raises:
            ZooError: a process was ended from outside.
            Exception: what a worker failed with that is no fault of the run.
        """
        ended: list[tuple[Job, Outcome]] = []
        words: list[Word] = []
        ready = wait([worker.line for worker in self._staff if worker.job], timeout=_POLL)
        for worker in (worker for worker in self._staff if worker.line in ready):
            told = self._told(worker)
            if isinstance(told, Word):
                words.append(told)
                continue
            assert worker.job is not None
            ended.append((worker.job, told))
            worker.job = None
        self._hand_out()
        return ended, words

    def _told(self, worker: _Worker) -> Word | Outcome:
        try:
            told = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            raise ZooError(
                f"a process that made runs was ended from outside (exit code {worker.process.exitcode}), perhaps "
                "because memory ran out: fewer --jobs need less"
            ) from None
        if isinstance(told, Exception):
            raise told
        return told

    def _hand_out(self) -> None:
        while self._waiting and (worker := self._idle()):
            worker.job = self._waiting.popleft()
            with suppress(OSError):  # it has died, which `hear` tells
                worker.line.send(worker.job)

    def _idle(self) -> _Worker | None:
        idle = next((worker for worker in self._staff if worker.job is None), None)
        if idle is None and len(self._staff) < self._most:
            idle = self._hire()
        return idle

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with _deaf():
            process.start()
        theirs.close()
        self._staff.append(_Worker(process, ours))
        return self._staff[-1]


@contextmanager
def working(jobs: int) -> Iterator[Workers]:
    """Up to so many processes, which are gone when the block ends."""
    workers = Workers(jobs)
    try:
        yield workers
        workers.stop()
    except BaseException:
        workers.kill()
        raise
    finally:
        workers.join()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started meanwhile do not hear what a terminal or a system sends to all: the leader does."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # when it is begun, it lets them be heard again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(line: Connection) -> None:
    """What a process does: one run after the other, until there is None, or nobody to ask for one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_leader, daemon=True).start()
    with suppress(EOFError, BrokenPipeError):  # the leader has gone
        while (job := line.recv()) is not None:
            line.send(_made(job, line))


def _made(job: Job, line: Connection) -> Outcome | Exception:
    telling = _Telling(job.trial, job.settings.steps, line)
    try:
        return run_trial(job.folder, job.settings, display=telling, interrupts=_Asked(line), text=job.text)
    except Exception as error:
        error.add_note(traceback.format_exc())  # for --debug: a traceback does not go from process to process
        return error


def _die_with_the_leader() -> None:
    """Nobody is left to take the results, and whoever goes on with the comparison finds the runs free."""
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os._exit(1)


class _Asked(Interrupts):
    """A request to stop that comes from the leader."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        super().__init__()

    @property
    def requested(self) -> bool:
        """Whether there was one; the leader says nothing else while a run is made."""
        return self._line.poll()

    @requested.setter
    def requested(self, value: bool) -> None:
        """Signals ask for nothing here."""


class _Telling(Display):
    """Tells the leading process how far the run is, a few times a second at most."""

    def __init__(self, trial: Trial, steps: int, line: Connection) -> None:
        self._trial, self._steps, self._line, self._last = trial, steps, line, 0.0
        self._accuracy: float | None = None
        self._loss: float | None = None

    def progress(self, progress: Progress) -> None:
        """A step was made."""
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_WORDS:
            self._last = time.monotonic()
            self._line.send(Word(self._trial, progress.step, self._steps, self._accuracy, self._loss))

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:
        """What is held out was measured."""
        del sample
        self._accuracy, self._loss = validation_accuracy, validation_loss
        self._line.send(Word(self._trial, step, self._steps, validation_accuracy, validation_loss))
