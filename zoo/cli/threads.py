"""How the threads of torch wait for each other, which is decided when torch is imported and cannot be changed later."""

import os
import statistics
import time
from collections.abc import MutableMapping
from pathlib import Path

_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_LOOKS, _SECONDS_BETWEEN = 5, 0.01
_BUSY = 0.25
"""So many other processes a core that want to run make a machine busy."""


def choose_waiting(environ: MutableMapping[str, str], *, others: float) -> None:
    """Have threads that wait for each other sleep on a busy machine, unless the user has chosen otherwise.

    By default OpenMP's threads spin. Where no other process wants the cores that is a quarter faster; where one does,
    each thread burns its time slice while the one that it waits for has none, and a step may take ten times as long.

    Args:
        environ: of the process, before torch is imported. Processes that it starts inherit it.
        others: how many other processes want to run.
    """
    if is_busy(others) and not any(name in environ for name in _CHOICES):
        environ["OMP_WAIT_POLICY"] = "PASSIVE"


def is_busy(others: float) -> bool:
    """Whether so many other processes that want to run slow this one down."""
    return others >= max(1.0, _BUSY * (os.cpu_count() or 1))


def count_others(path: Path = Path("/proc/loadavg")) -> float:
    """How many other processes want to run just now, the median of a few looks; 0 where the system does not tell."""
    looks = []
    for _ in range(_LOOKS):
        try:
            looks.append(int(path.read_text().split()[3].partition("/")[0]) - 1)  # this one runs, too
        except (OSError, ValueError, IndexError):
            return 0.0
        time.sleep(_SECONDS_BETWEEN)
    return statistics.median(looks)
