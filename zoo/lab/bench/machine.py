"""What the machine can do at most, as measured: multiply and copy."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.peaks import fastest, measure_flops
from zoo.train.settings import validate

R = TypeVar("R", bound=Any)
"""A request, which says where to measure."""

_MATRICES = (512, 1024, 2048)
_MATRICES_OF_GPU = (4096, 8192)
_COPIES = tuple(2**power for power in (18, 20, 22, 24, 26, 28))
_SECONDS = 0.3
"""Spent on each size; the fastest of what fits counts."""


@dataclass(frozen=True)
class Peaks:
    """The most that this machine does in a second, with these threads and in this precision.

    Attributes:
        flops: floating-point operations of a matrix product.
        bandwidths: bytes read and written, by the bytes that are touched, ascending: what fits into a cache moves
            faster.
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


def prepare(request: R) -> tuple[R, torch.device]:
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


def measure_peaks(device: torch.device, precision: str, *, reading: bool = False) -> Peaks:
    """Measure the fastest matrix product and the fastest copies.

    Args:
        device: where they are made.
        precision: of the matrices.
        reading: take sums of numbers in float32, which are read and not written, where these are faster than copies.
            On a CPU a product with a vector is no limit: torch's own reads at a third of that speed.
    """
    sizes = (*_MATRICES, *_MATRICES_OF_GPU) if device.type == "cuda" else _MATRICES
    flops = measure_flops(device, precision, sizes=sizes, seconds=_SECONDS)
    ways = [_copy_bandwidth, _read_bandwidth] if reading else [_copy_bandwidth]
    return Peaks(flops, tuple((size, max(way(size, device) for way in ways)) for size in _COPIES))


def _copy_bandwidth(touched: int, device: torch.device) -> float:
    source, target = torch.ones(2, touched // 2, dtype=torch.uint8, device=device)
    return touched / fastest(lambda: target.copy_(source), device, _SECONDS)


def _read_bandwidth(touched: int, device: torch.device) -> float:
    numbers = torch.ones(touched // 4, device=device)
    return touched / fastest(numbers.sum, device, _SECONDS)
