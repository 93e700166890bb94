"""Whether other processes take so much of the processors that training is slowed down."""

import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_SECONDS_TO_REPORT = 5.0
"""Seconds over which it is measured: a burst of something else is no contention."""

_LIMIT = 0.2
"""The fraction of the time in which threads were ready and had no processor, from which on the user is warned."""


class Contention:
    """Measures how long this process's threads wait for a processor, where the system measures it (Linux)."""

    def __init__(self) -> None:
        self._since, self._start = time.monotonic(), read_times()
        self._reported = False

    def notice(self) -> str | None:
        """What to tell the user: once, after some seconds, and only if others take much; None otherwise."""
        if self._reported or self._start is None or time.monotonic() - self._since < _SECONDS_TO_REPORT:
            return None
        now = read_times()
        fraction = waiting_fraction(self._start, now) if now is not None else 0.0
        self._since, self._start = time.monotonic(), now
        if fraction < _LIMIT:
            return None
        self._reported = True
        return (
            f"other processes are using the processors: training waits for one {fraction:.0%} of its time; "
            "close them, or start it with OMP_WAIT_POLICY=PASSIVE"
        )


def waiting_fraction(start: tuple[int, int], end: tuple[int, int]) -> float:
    """The fraction of the time in which threads wanted to run and had to wait, between two readings."""
    ran, waited = (later - earlier for earlier, later in zip(start, end, strict=True))
    return waited / (ran + waited) if waited > 0 and ran >= 0 else 0.0


def read_times() -> tuple[int, int] | None:
    """Nanoseconds for which this process's threads have run, and have waited; None where the system does not tell."""
    ran = waited = 0
    try:
        for task in _TASKS.iterdir():
            on_processor, on_queue, _ = (task / "schedstat").read_text().split()
            ran, waited = ran + int(on_processor), waited + int(on_queue)
    except (OSError, ValueError):  # another system, or a thread that has just ended
        return None
    return ran, waited
