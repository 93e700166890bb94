"""What the machine can do at most, as measured: multiply and copy."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from zoo.lab.bench.request import Request
from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.settings import validate

_MATRICES = (512, 1024, 2048)
_COPIES = tuple(2**power for power in (18, 20, 22, 24, 26, 28))
_SECONDS = 0.3
"""Spent on each size; the fastest of what fits counts."""


@dataclass(frozen=True)
class Peaks:
    """The most that this machine does in a second, with these threads and in this precision.

    Attributes:
        flops: floating-point operations of a matrix product.
        bandwidths: bytes read and written by a copy, by the bytes that it touches, ascending: what fits into a cache
            moves faster.
    """

    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def best(self, other: "Peaks") -> "Peaks":
        """The best of both: what else runs on a machine can only hide what it can do."""
        pairs = zip(self.bandwidths, other.bandwidths, strict=True)
        return Peaks(max(self.flops, other.flops), tuple(max(pair) for pair in pairs))

    def bandwidth(self, size: int) -> float:
        """Bytes a second that so many bytes can move with: the fastest that was seen of as many or more."""
        return max((speed for touched, speed in self.bandwidths if touched >= size), default=self.bandwidths[-1][1])

    def roofline_seconds(self, flops: int, size: int) -> float:
        """Seconds below which nothing can be that computes and moves so much."""
        return max(flops / self.flops, size / self.bandwidth(size))


def prepare(request: Request) -> tuple[Request, torch.device]:
    """Set the machine up as `zoo train` does, and put what it has in place of ``auto`` and None.

    Raises:
        UsageError: the device is not there.
    """
    device = request.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = resolve_auto(validate({"device": device, "precision": request.precision, "threads": request.threads}))
    place = prepare_machine(settings)
    return replace(request, device=device, threads=settings.threads), place


def measure_peaks(device: torch.device, precision: str) -> Peaks:
    """Measure the fastest matrix product and the fastest copies."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    flops = max(_matmul_flops(size, device, dtype) for size in _MATRICES)
    return Peaks(flops, tuple((size, _copy_bandwidth(size, device)) for size in _COPIES))


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


def _matmul_flops(size: int, device: torch.device, dtype: torch.dtype) -> float:
    first, second = torch.randn(2, size, size, device=device, dtype=dtype)
    out = torch.empty_like(first)
    return 2 * size**3 / _fastest(lambda: torch.mm(first, second, out=out), device)


def _copy_bandwidth(touched: int, device: torch.device) -> float:
    source, target = torch.ones(2, touched // 2, dtype=torch.uint8, device=device)
    return touched / _fastest(lambda: target.copy_(source), device)


def _fastest(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest call."""
    elapsed(call, 2, device)
    best, spent = float("inf"), 0.0
    while spent < _SECONDS:
        took = elapsed(call, 1, device)
        best, spent = min(best, took), spent + took
    return best
