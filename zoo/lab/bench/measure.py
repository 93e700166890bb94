"""Time and memory of calls, timed in turn: a disturbance of the machine disturbs all of them alike."""

import gc
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

import torch
from torch.autograd.profiler import profile

from zoo.train.peaks import elapsed

MIN_SECONDS = 0.02
"""Seconds that a repeat takes at least: what is quicker is called several times in it."""

SLOW_SECONDS = 3.0
"""Seconds of a call from which it is repeated fewer times."""

MIN_REPEATS = 3
"""Times that a slow call is repeated, if so many were asked for."""

Key: TypeAlias = tuple[int, str]
"""A length and the name of a candidate."""

_WARM_CALLS, _WARM_SECONDS = 2, 0.1
_CLOCK = 1e-7
"""Seconds that the clock cannot tell from nothing."""


@dataclass
class Timing:
    """How long the calls of one candidate took.

    Attributes:
        estimate: seconds of a call, from the warm-up.
        calls: in each repeat.
        repeats: that are to be made.
        seconds: of one call, in each repeat made so far.
        error: what went wrong; then nothing more is measured.
    """

    estimate: float = 0.0
    calls: int = 1
    repeats: int = 0
    seconds: list[float] = field(default_factory=list)
    error: Exception | None = None


def time_in_turn(
    work: Mapping[int, Mapping[str, Callable[[], object]]],
    timings: dict[Key, Timing],
    *,
    repeats: int,
    device: torch.device,
    announce: Callable[[int, str], None],
) -> None:
    """Time each call so many times: a round takes every length and every candidate once, in an order that rotates.

    So the repeats of a cell lie far apart, and a disturbance that lasts a while spoils one or two of them.

    Args:
        work: the calls by length and candidate.
        timings: filled as they are made, so that they are there when the rounds are interrupted.
        repeats: of each; of calls that take seconds no more than three.
        device: where the work is done.
        announce: is called with a length and a candidate's name before its turn. What it raises ends the rounds.
    """
    with _no_garbage_collection():
        for length, calls in work.items():
            for name, call in calls.items():
                announce(length, name)
                timings[length, name] = _warmed(call, repeats, device)
        for turn in range(repeats):
            for length, calls in work.items():
                for name in rotated(list(calls), turn):
                    timing = timings[length, name]
                    if turn < timing.repeats and timing.error is None:
                        announce(length, name)
                        _repeat(calls[name], timing, device)


def rotated(names: list[str], turn: int) -> list[str]:
    """The names in the order of that turn: each is first once before one is first again."""
    first = turn % len(names) if names else 0
    return names[first:] + names[:first]


def _warmed(call: Callable[[], object], repeats: int, device: torch.device) -> Timing:
    """Call it until it has run in; how often to call and to repeat it follows from the fastest of these calls."""
    calls, spent, fastest = 0, 0.0, math.inf
    while calls < _WARM_CALLS or spent < _WARM_SECONDS:
        try:
            took = elapsed(call, 1, device)
        except Exception as error:
            return Timing(error=error)
        calls, spent, fastest = calls + 1, spent + took, min(fastest, took)
        if took > SLOW_SECONDS:
            break
    inside = max(1, math.ceil(MIN_SECONDS / max(fastest, _CLOCK)))
    return Timing(fastest, inside, min(repeats, MIN_REPEATS) if fastest > SLOW_SECONDS else repeats)


def _repeat(call: Callable[[], object], timing: Timing, device: torch.device) -> None:
    try:
        timing.seconds.append(elapsed(call, timing.calls, device) / timing.calls)
    except Exception as error:
        timing.error = error


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect now, and not while the block runs."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most bytes of tensors that a call holds at once, above what was there before it.

    What kernels ask of torch's allocator while they run is counted, what a library takes from the system for itself
    is not.

    Args:
        call: is run once; what it builds at its first time, e.g. a table that it keeps, counts too. It frees nothing
            that was there before.
        device: whose memory is meant.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would speak on stderr
    with profile(use_cpu=True, profile_memory=True) as events:
        call()
    found = [event for event in events.kineto_results.events() if event.name() == "[memory]"]
    found.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in found), initial=0))
