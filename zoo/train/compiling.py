"""Whether compiling a model pays: measured once for a machine and a model, before a long run."""

import math
import time
from collections.abc import Callable
from os import environ
from typing import NamedTuple

from zoo.data.source import Source
from zoo.files.environment import find_compiler
from zoo.model.backbone import Backbone
from zoo.model.parameters import count_active_parameters
from zoo.train.listener import Listener
from zoo.train.measured import keep, path_of, recall
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

WORTH = 600.0
"""Seconds: a run that may take less is not worth the minute or two of a measurement."""

RATE = 1e11
"""Operations a second and thread of a CPU at most: what a run takes at least is guessed by them."""

TIMED = 3
"""So many steps are timed, after the first."""


class Timing(NamedTuple):
    """What was measured, in seconds.

    Attributes:
        plain: a step of the model as it is.
        compiled: a step of the compiled model; infinite where it cannot be compiled.
        compiling: the first step of the compiled model, in which the code is generated.
    """

    plain: float
    compiled: float
    compiling: float

    def pays(self, steps: int) -> bool:
        """Whether so many steps are made sooner by a compiled model, compilation included."""
        return (self.plain - self.compiled) * steps > self.compiling


def compile_pays(
    settings: Settings,
    source: Source,
    model: Backbone,
    build: Callable[[], Backbone],
    listener: Listener,
    *,
    plain: float | None = None,
) -> bool:
    """Whether a run is to compile its model, by a measurement that is remembered for this machine and model.

    Short runs are not measured, and take the model as it is: so a run is never slower than that by more than the
    measurement takes.

    Args:
        settings: resolved, of a run of one process.
        source: what it trains on.
        model: which is to be trained; it is looked at only.
        build: makes another one like it, to be measured and thrown away: for that long there are two.
        listener: hears of a measurement, and what came of it.
        plain: seconds of a step of the model as it is, where that has just been measured.
    """
    has_compiler = settings.device != "cpu" or find_compiler(environ) is not None
    if settings.curriculum is not None or settings.segment is not None:
        return False  # each length would be compiled by itself, and steps are not compiled
    if not has_compiler or least_seconds(settings, model) < WORTH:
        return False
    path = path_of("compiling", settings, source)
    if (kept := recall(path, set(Timing._fields))) is None:
        listener.notice("measuring whether it pays to compile the model; that takes a minute or two, once")
        timing = measure(settings, source, build, plain)
        keep(path, timing._asdict())
    else:
        timing = Timing(**kept)
    pays = timing.pays(settings.steps)
    compiled = f"{1e3 * timing.compiled:.0f} ms compiled" if math.isfinite(timing.compiled) else "it cannot be compiled"
    outcome = "compiled" if pays else "not compiled"
    listener.notice(f"a step takes {1e3 * timing.plain:.0f} ms, and {compiled}: the model is {outcome}")
    return pays


def least_seconds(settings: Settings, model: Backbone) -> float:
    """How long a run takes at least on a CPU, by six operations a parameter and token."""
    tokens = settings.tokens(settings.steps)
    seconds = 6 * count_active_parameters(model) * tokens / (RATE * (settings.threads or 1))
    return min(seconds, settings.max_time or math.inf)


def measure(settings: Settings, source: Source, build: Callable[[], Backbone], plain: float | None = None) -> Timing:
    """Time some steps of a model of these settings, as it is unless that is known, and compiled."""
    if plain is None:
        _, plain = _time(settings.model_copy(update={"compile": False}), source, build())
    try:
        compiling, compiled = _time(settings.model_copy(update={"compile": True}), source, build())
    except Exception:  # whatever a compiler says: the model is trained without it
        return Timing(plain, math.inf, 0.0)
    return Timing(plain, compiled, compiling)


def _time(settings: Settings, source: Source, model: Backbone) -> tuple[float, float]:
    """The seconds of the first step, and of one of those that follow."""
    step, seconds = TrainingStep(model.train(), source, settings), []
    for number in range(1 + TIMED):
        begin = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - begin)
    return seconds[0], min(seconds[1:])  # what another process takes away says nothing of the model
