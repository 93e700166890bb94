"""How long a step of training takes, for budgets of seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

from zoo.data.source import Source
from zoo.plugin.registry import get_registry
from zoo.train.machine import prepare_machine
from zoo.train.session import model_for
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

_WARM_UP, _MEASURED = 3, 9


def measure_step_seconds(settings: Settings, source: Source) -> float:
    """The median time of a few training steps of a fresh model, each made as the trainer makes it.

    It runs on the threads of the settings. The thread count and the global random state are left as they were.
    """
    times = []
    with _threads_and_random_state_kept():
        device = prepare_machine(settings)
        model = model_for(source, settings, get_registry()).to(device).train()
        make_step = TrainingStep(model, source, settings)
        for step in range(_WARM_UP + _MEASURED):
            begin = time.perf_counter()
            make_step(step)  # reads the norm of the gradient, and with it waits for the device
            times.append(time.perf_counter() - begin)
    return median(times[_WARM_UP:])


@contextmanager
def _threads_and_random_state_kept() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)
