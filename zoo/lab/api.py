"""Comparisons and benchmarks from Python: what ``zoo compare`` and ``zoo bench`` do, with the figures as objects."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.lab.bench.request import KINDS
from zoo.lab.bench.request import Request as BenchRequest
from zoo.lab.bench.result import Bench
from zoo.lab.bench.session import make_ready, run_bench
from zoo.lab.bench.write import new_folder, write_bench
from zoo.lab.compare.executors import DEFAULT, read_executor
from zoo.lab.compare.format import format_guess, verdict
from zoo.lab.compare.request import Request, read_budget, read_data, read_match, read_patterns
from zoo.lab.compare.results import Results
from zoo.lab.compare.session import create_comparison, run_comparison
from zoo.plugin.files import load_file, passing_files
from zoo.plugin.local import files_in, with_file_names
from zoo.plugin.registry import adding


@dataclass(frozen=True)
class Comparison:
    """A comparison that has ended. ``str`` of it says what came out, in a paragraph for each text or task.

    Attributes:
        folder: with tables, plots and ``report.html``.
        results: the figures, by text or task and by pattern.
    """

    folder: Path
    results: Results

    def __str__(self) -> str:
        texts = ([verdict(result), format_guess(result)] for result in self.results.data)
        paragraphs = [" ".join(filter(None, text)) for text in texts]
        return "\n\n".join(f"{r.data}: {text}" for r, text in zip(self.results.data, paragraphs, strict=True))


def compare(
    patterns: Sequence[str],
    *,
    data: str | Sequence[str] = "python-stdlib",
    tier: str = "smoke",
    seeds: int | None = None,
    lrs: Sequence[float] | None = None,
    match: str = "none",
    budget: str | None = None,
    jobs: int | None = None,
    on: str = DEFAULT,
    out: str | Path | None = None,
    **settings: Any,
) -> Comparison:
    """Compare mixers fairly, as ``zoo compare`` does. A comparison that was started in `out` is resumed.

    Every run has a process of its own, started as `multiprocessing` starts them: a script keeps the call behind
    ``if __name__ == "__main__":``, and a mixer of the user's own is named by its file, ``"./mine.py:Mine"``.

    Args:
        patterns: of token mixers; the first one is what the others are made as big as.
        data: texts and tasks.
        tier: where the settings start from: ``"smoke"``, ``"laptop"`` or ``"paper"``.
        seeds: how many; None for those of the tier.
        lrs: learning rates to try; None for those of the tier.
        match: what is made equal: ``"none"``, ``"params"``, ``"flops"`` or ``"state"``.
        budget: ``"steps:2000"``, ``"seconds:90"`` or ``"flops:1e13"``; None for the steps of the tier.
        jobs: runs at a time; None for as many as the machine has cores, or for all where others make them.
        on: the executor that makes the runs: ``"processes"``, or that of a plugin, ``"dask:tcp://HOST:PORT"``.
        out: the folder; None for a new one in ``comparisons/``.
        settings: of every run, by name: ``dim=64, layers=2``.

    Raises:
        UsageError: a mistake in any pattern, text or setting, before anything is trained.
    """
    with _files_of(patterns), _threads_kept():
        request = Request(
            patterns=read_patterns([with_file_names(pattern) for pattern in patterns]),
            data=read_data([data] if isinstance(data, str) else data),
            tier=tier,
            seeds=seeds,
            lrs=None if lrs is None else tuple(sorted(set(lrs))),
            match=read_match(match),
            budget=None if budget is None else read_budget(budget),
            settings=settings,
            jobs=jobs,
            on=read_executor(on),
        )
        plan, folder = create_comparison(request, root=Path("comparisons"), out=None if out is None else Path(out))
        return Comparison(folder.path, run_comparison(plan, folder))


def bench(
    patterns: Sequence[str],
    *,
    lengths: Sequence[int] = (256, 1024, 4096),
    kinds: Sequence[str] = tuple(KINDS),
    out: str | Path | None = None,
    **options: Any,
) -> Bench:
    """Measure what mixers cost as a function of length, as ``zoo bench`` does.

    Args:
        patterns: of token mixers; plain attention is measured beside them.
        lengths: tokens in a sequence.
        kinds: of cost: ``"forward"``, ``"train"``, ``"prefill"``, ``"decode"``, ``"memory"``.
        out: a new folder for tables, plots and ``report.html``; None writes nothing.
        options: of `zoo.lab.bench.request.Request`: ``dim``, ``heads``, ``residual``, ``batch``, ``device``,
            ``precision``, ``threads``, ``repeats``, ``seed``.

    Returns:
        Its ``cells`` hold the figures; `zoo.lab.bench.summary.summary` makes tables of them.

    Raises:
        UsageError: a mistake in any pattern or option, before anything is measured.
    """
    with _files_of(patterns), _threads_kept():
        named = tuple(with_file_names(pattern) for pattern in patterns)
        request = BenchRequest(patterns=named, lengths=tuple(sorted(lengths)), kinds=tuple(kinds), **options)
        start = make_ready(request)
        folder = None if out is None else new_folder(request, root=Path(out).parent, out=Path(out))
        measured = run_bench(start)
        if folder is not None:
            write_bench(measured, folder)
    return measured


@contextmanager
def _files_of(patterns: Sequence[str]) -> Iterator[None]:
    """Have the files that patterns name as plugins, here and in other processes, whatever was registered here."""
    files = [path for pattern in patterns for path in files_in(pattern)]
    with passing_files(files), adding(map(load_file, files)):
        yield


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Torch's threads belong to the session, which goes on."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
