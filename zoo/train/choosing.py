"""What a run leaves to measurements at its start: its precision on a CPU, and whether its model is compiled."""

import time
from collections.abc import Callable, Mapping

from zoo.data.source import Source
from zoo.model.backbone import Backbone
from zoo.train.compiling import compile_pays
from zoo.train.listener import Listener
from zoo.train.machine import bf16_pays
from zoo.train.measured import keep, path_of, recall
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

TIMED = 3
"""So many steps are timed in each precision, after the first."""

SHARE = 0.02
"""The fraction of a run's steps that a measurement may take."""

MARGIN = 0.95
"""Rounding must save a twentieth of the time: otherwise the more exact numbers are taken."""

PRECISIONS = ("fp32", "bf16")


def choose_fastest(
    asked: Settings,
    settings: Settings,
    source: Source,
    model: Backbone,
    *,
    build: Callable[[], Backbone],
    listener: Listener,
) -> Settings:
    """The settings of a run of one process, with what was left to it chosen by measurements, where they are worth it.

    They become part of the run's settings, so that a resumed run does not measure.

    Args:
        asked: what was asked for, with ``auto`` where the choice was left open.
        settings: the same, resolved without a measurement.
        source: what it trains on.
        model: which is to be trained; it is looked at only.
        build: makes another one like it, to be measured and thrown away.
        listener: hears of a measurement, and what came of it.
    """
    plain = None
    if asked.precision == "auto" and _is_worth_measuring(settings):
        precision, plain = _choose_precision(settings, source, build, listener)
        settings = settings.model_copy(update={"precision": precision})
    if asked.compile == "auto":
        pays = compile_pays(settings, source, model, build, listener, plain=plain)
        settings = settings.model_copy(update={"compile": pays})
    return settings


def _choose_precision(
    settings: Settings, source: Source, build: Callable[[], Backbone], listener: Listener
) -> tuple[str, float | None]:
    """The precision, and the seconds of a step in it where that was measured just now."""
    path, names = path_of("precision", settings.model_copy(update={"precision": "auto"}), source), set(PRECISIONS)
    if (kept := recall(path, names)) is not None:
        return faster(kept), None
    try:
        measured = measure_precisions(settings, source, build)
    except Exception:  # whatever it is, e.g. a mixer that fails: training says so, in the precision it would have had
        return settings.precision, None
    if (kept := recall(path, names)) is not None:  # another run was quicker: two of the same settings must agree
        return faster(kept), None
    keep(path, measured)
    chosen = faster(measured)
    times = " and ".join(f"{1e3 * seconds:.0f} ms in {name}" for name, seconds in measured.items())
    listener.notice(f"a step takes {times}: the run takes {chosen}")
    return chosen, measured[chosen]


def measure_precisions(settings: Settings, source: Source, build: Callable[[], Backbone]) -> dict[str, float]:
    """The seconds of a step in each precision, taken in turn with one model."""
    step = TrainingStep(build().train(), source, settings.model_copy(update={"compile": False}))
    taken: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for number in range(1 + TIMED):
        for name, seconds in taken.items():
            step.settings = settings.model_copy(update={"precision": name})
            begin = time.perf_counter()
            step(number)
            seconds.append(time.perf_counter() - begin)
    # the least: what another process takes away from a step says nothing of the precision
    return {name: min(seconds[1:]) for name, seconds in taken.items()}


def faster(seconds: Mapping[str, float]) -> str:
    """The precision to train in."""
    return "bf16" if seconds["bf16"] < MARGIN * seconds["fp32"] else "fp32"


def _is_worth_measuring(settings: Settings) -> bool:
    """Whether a run may gain by it, and is long enough; of one that ends by a clock it is not known how long it is."""
    long = len(PRECISIONS) * (1 + TIMED) <= SHARE * settings.steps and settings.max_time is None
    return long and settings.device == "cpu" and bf16_pays(settings.device, settings.dim)
