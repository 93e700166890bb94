"""A bench whose figures are made up, so that what is told of it can be counted by hand."""

from dataclasses import replace

from zoo.lab.bench.candidates import PLAIN
from zoo.lab.bench.machine import Peaks
from zoo.lab.bench.request import Request
from zoo.lab.bench.result import Bench, Cell

LENGTHS = (256, 512, 1024)


def cell(name, kind, length, seconds):
    """A cell whose median is `seconds`, with quartiles a tenth to both sides, at half of what the machine can do."""
    made = Cell(name, kind, length, tokens=1 if kind == "decode" else length)
    if kind == "memory":
        return replace(made, peak=round(seconds * 2**20))
    repeats = tuple(seconds * factor for factor in (0.8, 0.9, 1.0, 1.1, 1.2))
    state = 1000 if kind == "decode" else None
    return replace(
        made, seconds=repeats, calls=3, flops=10**6, bytes_moved=10**5, roofline_seconds=seconds / 2, state=state
    )


def bench(pattern="correlation*2", *, lengths=LENGTHS, kinds=("forward", "train", "decode", "memory")):
    """Plain attention grows as t^2, the other one as t, and takes as long at 256 tokens."""
    request = Request(patterns=(pattern,), lengths=lengths, kinds=kinds, device="cpu", threads=2)
    candidates = [
        {"name": PLAIN, "layers": 1, "parameters": 65664, "active_parameters": 65664},
        {"name": pattern, "layers": 2, "parameters": 131328, "active_parameters": 131328},
    ]
    cells = [
        cell(name, kind, length, 0.004 * (length / 256) ** power)
        for kind in kinds
        for length in lengths
        for name, power in ((PLAIN, 2), (pattern, 1))
    ]
    peaks = Peaks(1.23e11, ((2**20, 5e10), (2**28, 2e10)))
    return Bench(request, peaks, candidates, {}, cells, [], complete=True, seconds=75.0)
