from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zoo.lab.compare import grid
from zoo.lab.compare.trial import run_trial
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener


@pytest.fixture(autouse=True)
def _built_ins_only(own_world):
    """See the fixture."""


class InThisProcess:
    """Makes one run after the other without other processes, which take seconds to begin; `asked` counts them."""

    def __init__(self) -> None:
        self.waiting, self.stopped = [], False

    def submit(self, job):
        if not self.stopped:
            self.waiting.append(job)

    def stop(self):
        self.stopped = True
        self.waiting.clear()

    @property
    def are_busy(self):
        return bool(self.waiting)

    def poll(self):
        job = self.waiting.pop(0)
        return [
            (job, run_trial(job.folder, job.settings, listener=Listener(), interrupts=Interrupts(), text=job.text))
        ], []


@pytest.fixture
def in_this_process(monkeypatch) -> Iterator[None]:
    @contextmanager
    def working(jobs):
        yield InThisProcess()

    monkeypatch.setattr(grid, "working", working)
