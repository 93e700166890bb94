"""Processes that make runs side by side, each on its own threads, and report their progress."""

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
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener, Progress
from zoo.train.settings import Settings

_SECONDS_BETWEEN_MESSAGES = 0.3
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
class RunProgress:
    """How far a run is, as its worker last reported.

    Attributes:
        accuracy: at the last evaluation; None before the first.
        loss: of the validation data, likewise.
    """

    trial: Trial
    step: int
    steps: int
    accuracy: float | None = None
    loss: float | None = None


@dataclass
class _Worker:
    """A process, the pipe to it, and the run that it is making."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class Workers:
    """A pool of processes, started when there is work, up to a number. Made by `working`."""

    def __init__(self, limit: int) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._limit, self._pool = limit, list[_Worker]()
        self._waiting, self._stopped = deque[Job](), False

    def submit(self, job: Job) -> None:
        """Have a run made when a worker is free; not any more once all were asked to stop."""
        if not self._stopped:
            self._waiting.append(job)
            self._hand_out()

    def stop(self) -> None:
        """Ask all runs to save and end after their step; those that wait do not start."""
        if not self._stopped:
            self._stopped = True
            self._waiting.clear()
            for worker in self._pool:
                with suppress(OSError):  # it has died, which `poll` reports
                    worker.pipe.send(None)

    def kill(self) -> None:
        """End the processes where they stand; what was saved stays."""
        for worker in self._pool:
            worker.process.kill()

    def join(self) -> None:
        """Wait until the processes are gone."""
        for worker in self._pool:
            worker.process.join()
            worker.pipe.close()

    @property
    def are_busy(self) -> bool:
        """Whether a run is under way or waits."""
        return bool(self._waiting) or any(worker.job for worker in self._pool)

    def poll(self) -> tuple[list[tuple[Job, Outcome]], list[RunProgress]]:
        """Wait a moment; the runs that have ended since, and the progress of the others.

        Raises:
            ZooError: a process was ended from outside.
            Exception: what a worker failed with that is not the fault of the run.
        """
        ended: list[tuple[Job, Outcome]] = []
        progress: list[RunProgress] = []
        ready = wait([worker.pipe for worker in self._pool if worker.job], timeout=_POLL)
        for worker in (worker for worker in self._pool if worker.pipe in ready):
            message = self._receive(worker)
            if isinstance(message, RunProgress):
                progress.append(message)
                continue
            assert worker.job is not None
            ended.append((worker.job, message))
            worker.job = None
        self._hand_out()
        return ended, progress

    def _receive(self, worker: _Worker) -> RunProgress | Outcome:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            raise ZooError(
                f"a process that made runs was ended from outside (exit code {worker.process.exitcode}), perhaps "
                "because memory ran out: fewer `jobs` need less"
            ) from None
        if isinstance(message, Exception):
            raise message
        return message

    def _hand_out(self) -> None:
        while self._waiting and (worker := self._idle()):
            worker.job = self._waiting.popleft()
            with suppress(OSError):  # it has died, which `poll` reports
                worker.pipe.send(worker.job)

    def _idle(self) -> _Worker | None:
        idle = next((worker for worker in self._pool if worker.job is None), None)
        if idle is None and len(self._pool) < self._limit:
            idle = self._start()
        return idle

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with _signals_masked():
            process.start()
        theirs.close()
        self._pool.append(_Worker(process, ours))
        return self._pool[-1]


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
def _signals_masked() -> Iterator[None]:
    """Start processes that ignore the signals which a terminal or a system sends to all: the leader handles them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unmask the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection) -> None:
    """What a process does: one run after the other, until there is None, or the leader is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_leader, daemon=True).start()
    with suppress(EOFError, BrokenPipeError):  # the leader has gone
        while (job := pipe.recv()) is not None:
            pipe.send(_made(job, pipe))


def _made(job: Job, pipe: Connection) -> Outcome | Exception:
    reporting = _Reporting(job.trial, job.settings.steps, pipe)
    try:
        return run_trial(job.folder, job.settings, listener=reporting, interrupts=_Asked(pipe), text=job.text)
    except Exception as error:
        error.add_note(traceback.format_exc())  # for --debug: a traceback does not go from process to process
        return error


def _die_with_the_leader() -> None:
    """Without the leader nothing takes the results, and a resumed comparison has to find the runs free."""
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os._exit(1)


class _Asked(Interrupts):
    """A request to stop that comes from the leader."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        super().__init__()

    @property
    def requested(self) -> bool:
        """Whether there was one; the leader sends nothing else while a run is made."""
        return self._pipe.poll()

    @requested.setter
    def requested(self, value: bool) -> None:
        """Signals ask for nothing here."""


class _Reporting(Listener):
    """Reports to the leader how far the run is, a few times a second at most."""

    def __init__(self, trial: Trial, steps: int, pipe: Connection) -> None:
        self._trial, self._steps, self._pipe, self._last = trial, steps, pipe, 0.0
        self._accuracy: float | None = None
        self._loss: float | None = None

    def progress(self, progress: Progress) -> None:
        """After each step."""
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_MESSAGES:
            self._last = time.monotonic()
            self._pipe.send(RunProgress(self._trial, progress.step, self._steps, self._accuracy, self._loss))

    def evaluation(self, step: int, validation_loss: float, validation_accuracy: float, sample: str) -> None:
        """The validation data was measured."""
        del sample
        self._accuracy, self._loss = validation_accuracy, validation_loss
        self._pipe.send(RunProgress(self._trial, step, self._steps, validation_accuracy, validation_loss))
