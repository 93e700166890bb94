"""Many runs side by side, for the benchmarks that train; what is there is not made again."""

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from zoo.files.logs import read_rows
from zoo.train.session import resume, start
from zoo.train.settings import Settings


def curve(settings: Settings, path: Path) -> dict[int, float]:
    """The validation loss of a run by step; a run that was made before is read, one that was stopped goes on."""
    if not path.exists():
        start(settings, root=path.parent, out=path, pages=False)
    elif not (path / "summary.json").exists():
        resume(path, pages=False)
    rows = read_rows(path / "metrics.jsonl")
    return {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}


def curves(runs: Mapping[Path, Settings], jobs: int) -> dict[Path, dict[int, float]]:
    """The curve of each run by its folder, with so many processes at a time."""
    if jobs == 1:
        return {path: curve(settings, path) for path, settings in runs.items()}
    spawned = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    with ProcessPoolExecutor(jobs, mp_context=spawned) as pool:
        return dict(zip(runs, pool.map(curve, runs.values(), runs), strict=True))
