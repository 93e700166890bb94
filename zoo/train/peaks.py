"""The most that a machine computes in a second, as measured: the fastest matrix product."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from zoo.errors import ZooError
from zoo.files.atomic import write_atomically
from zoo.files.cache_directory import cache_directory
from zoo.files.environment import cpu_name
from zoo.train.contention import read_times, waiting_fraction

SIZES = (512, 1024)
"""Rows of the square matrices that are multiplied on a CPU: larger ones are hardly faster, and take long."""

SIZES_OF_GPU = (2048, 4096, 8192)
"""Likewise on a GPU, which smaller ones do not fill."""

SECONDS = 0.15
"""Spent on each size; the fastest call counts."""

MAX_WAITING = 0.05
"""The fraction of the time in which threads waited for a processor, beyond which a measurement is not kept."""


def elapsed(call: Callable[[], object], calls: int, device: torch.device) -> float:
    """Seconds that so many calls take, from the first to the end of the last one's work."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - began


def fastest(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the fastest of the calls that fit into so many seconds."""
    elapsed(call, 2, device)
    best, spent = math.inf, 0.0
    while spent < seconds:
        took = elapsed(call, 1, device)
        best, spent = min(best, took), spent + took
    return best


def measure_flops(device: torch.device, precision: str, *, sizes: Sequence[int], seconds: float) -> float:
    """Floating-point operations a second of the fastest product of square matrices.

    Args:
        device: where they lie; the threads of a CPU are those that torch has.
        precision: of the matrices, ``"fp32"`` or ``"bf16"``.
        sizes: rows of the matrices, in ascending order.
        seconds: spent on each size.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def flops_of(size: int) -> float:
        first, second = torch.randn(2, size, size, device=device, dtype=dtype)
        out = torch.empty_like(first)
        return 2 * size**3 / fastest(lambda: torch.mm(first, second, out=out), device, seconds)

    return max(map(flops_of, sizes))


def peak_flops(device: torch.device, precision: str, *, at_least: float = 0.0) -> float:
    """Floating-point operations a second that this machine can do, measured once and kept in the cache directory.

    Args:
        device: a CPU, with the threads that torch has now, or a CUDA device.
        precision: ``"fp32"`` or ``"bf16"``.
        at_least: what was reached: where it is more than what was kept, something else kept the machine busy then, and
            it is measured again.
    """
    path = cache_directory() / "peaks" / f"{_key(device, precision)}.json"
    kept = 0.0
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = float(json.loads(path.read_bytes())["flops"])
    if math.isfinite(kept) and kept > 0 and kept >= at_least:
        return kept
    sizes = SIZES_OF_GPU if device.type == "cuda" else SIZES
    start = read_times()
    flops = max(kept, measure_flops(device, precision, sizes=sizes, seconds=SECONDS))
    end = read_times()
    if start is not None and end is not None and waiting_fraction(start, end) > MAX_WAITING:
        return flops  # of a machine that others used: the next run measures again
    with suppress(OSError, ZooError):  # it is measured again, then
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"flops": flops}))
    return flops


def _key(device: torch.device, precision: str) -> str:
    """A name for all that the speed of a product depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()} {torch.get_num_threads()}"
    products = torch.get_float32_matmul_precision()
    words = [device.type, name, torch.__version__, precision, products]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
