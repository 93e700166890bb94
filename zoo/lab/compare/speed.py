"""How long a step of training takes, for budgets of seconds."""

import time
from statistics import median

import torch

from zoo.data.source import Source
from zoo.registry import get_registry
from zoo.train.evaluate import autocast
from zoo.train.machine import prepare_machine
from zoo.train.optimizer import make_optimizer
from zoo.train.session import model_for
from zoo.train.settings import Settings

_WARM_UP, _MEASURED = 3, 9


def measure_step_seconds(settings: Settings, source: Source) -> float:
    """The median time of a few steps of a fresh model: batch, forward, backward and update.

    The thread count and the global random state are left as they were.
    """
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        device = prepare_machine(settings)
        model = model_for(source, settings, get_registry()).to(device).train()
        optimizer = make_optimizer(model, settings)
        times = []
        for step in range(_WARM_UP + _MEASURED):
            begin = time.perf_counter()
            for micro in range(settings.accumulate):
                number = step * settings.accumulate + micro
                batch = source.draw(context=settings.context, batch=settings.batch, seed=settings.seed, step=number)
                where = None if batch.where is None else batch.where.to(device)
                with autocast(device, settings.precision):
                    output = model(batch.inputs.to(device), batch.targets.to(device), where)
                output.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip).item()  # waits for the device
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            times.append(time.perf_counter() - begin)
    torch.set_num_threads(before)
    return median(times[_WARM_UP:])
