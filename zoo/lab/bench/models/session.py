"""A bench of whole models from the request to the figures."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import environ

import torch

from zoo.errors import UsageError
from zoo.files.environment import COMPILERS, find_compiler
from zoo.lab.bench.listener import Listener
from zoo.lab.bench.machine import measure_peaks, prepare
from zoo.lab.bench.models.candidates import Candidate, build_candidates
from zoo.lab.bench.models.request import ModelRequest
from zoo.lab.bench.models.result import ModelBench
from zoo.lab.bench.models.work import prepare_work
from zoo.lab.bench.session import measuring
from zoo.lab.bench.table import Table
from zoo.lab.bench.work import Work
from zoo.model.build import check_pattern


@dataclass(frozen=True)
class Start:
    """All that a bench of models needs, before anything is measured.

    Attributes:
        request: with what the machine has in place of ``auto`` and None.
        device: where it runs.
        candidates: the baselines first.
        described: each with its name, its layers and its parameters.
        unbuilt: why the other patterns could not be built.
    """

    request: ModelRequest
    device: torch.device
    candidates: Sequence[Candidate]
    described: list[dict[str, object]]
    unbuilt: dict[str, str]


def make_ready(request: ModelRequest) -> Start:
    """Set the machine up, and see which of the models can be built.

    Raises:
        UsageError: a mistake in any of the patterns, none of them can be built, or the device or a compiler that was
            asked for is not there.
    """
    for pattern in request.patterns:
        check_pattern(pattern, layers=request.layers)
    resolved, device = prepare(request)
    if request.compile and device.type == "cpu" and find_compiler(environ) is None:
        raise UsageError(f"`compile`: no C++ compiler is installed; torch.compile needs one of {', '.join(COMPILERS)}")
    return Start(resolved, device, *build_candidates(resolved))


def run_bench(start: Start, listener: Listener | None = None) -> ModelBench:
    """Measure what was asked for.

    Returns:
        The bench; if it was stopped, with what was measured until then, and not ``complete``.
    """
    began, listener, request = time.monotonic(), listener or Listener(), start.request
    peaks = measure_peaks(start.device, request.precision, reading=True)
    bench = ModelBench(request, peaks, start.described, dict(start.unbuilt))
    candidates = {candidate.name: candidate for candidate in start.candidates}
    listener.start((2 + request.repeats) * len(request.kinds) * len(candidates))
    with measuring(bench), _compiling(len(candidates), enabled=request.compile):
        for kind in request.kinds:
            lengths, prepare = [request.length(kind)], partial(_prepare, kind, start)
            Table(kind, lengths, candidates, prepare, start.device, bench, listener).measure_time()
            bench.peaks = bench.peaks.best(measure_peaks(start.device, request.precision, reading=True))
    bench.seconds = time.monotonic() - began
    return bench


def _prepare(kind: str, start: Start, candidate: Candidate, _length: int) -> Work:
    return prepare_work(kind, candidate, start.request, start.device)


@contextmanager
def _compiling(candidates: int, *, enabled: bool) -> Iterator[None]:
    """Let torch compile so many models: they share code, of which it keeps eight versions, and then gives up."""
    if not enabled:
        yield
        return
    from torch._dynamo import config

    with config.patch(recompile_limit=8 * (1 + candidates)):
        yield
