"""The folder of a bench: its figures as CSV and JSON, its pictures, and the report."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.files.atomic import cannot_make, write_atomically
from zoo.files.environment import describe_environment
from zoo.files.logs import table
from zoo.files.strict_json import to_json
from zoo.lab.bench.plot import save_plots
from zoo.lab.bench.report import write_report
from zoo.lab.bench.result import Asked, Bench, Cell, Measured, failures
from zoo.train.plugins import plugins_of
from zoo.train.settings import validate


def new_folder(request: Asked, *, root: Path, out: Path | None = None) -> Path:
    """Make the folder of a bench: `out`, or ``<utc time>-<patterns>`` under `root`.

    Raises:
        UsageError: `out` exists, or no folder can be made there.
        ZooError: the disk is full.
    """
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(request.patterns).lower()).strip("-")
    path = out or root / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{words[:40].strip('-') or 'bench'}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        if os.path.lexists(path):
            raise UsageError(f"{path} exists: choose another `out`, so that no earlier figures are lost") from None
        raise cannot_make("folder", path, error) from None
    return path


def write_bench(bench: Bench, folder: Path) -> None:
    """Write bench.csv, bench.json, the pictures and report.html into a folder that is there.

    Raises:
        ZooError: a file cannot be written.
    """
    figures = as_json(bench)
    write_atomically(folder / "bench.json", to_json(figures))
    write_atomically(folder / "bench.csv", table([csv_row(bench, cell) for cell in bench.cells]))
    save_plots(bench, folder)
    write_report(bench, figures["environment"], folder)


def csv_row(bench: Bench, cell: Cell) -> dict[str, Any]:
    """A cell as a row: costs in seconds and bytes."""
    return figures_of(cell) | {"ratio_to_plain_sdpa": bench.ratio(cell), "failure": cell.failure}


def figures_of(cell: Cell) -> dict[str, Any]:
    """What a cell holds, by the names of columns."""
    low, high = cell.quartiles or (None, None)
    return {
        "candidate": cell.candidate,
        "what": cell.kind,
        "length": cell.length,
        "median_seconds": cell.cost if cell.seconds else None,
        "lower_quartile_seconds": low,
        "upper_quartile_seconds": high,
        "repeats": len(cell.seconds),
        "calls_a_repeat": cell.calls,
        "tokens_per_second": cell.tokens_per_second,
        "peak_bytes": cell.peak,
        "state_bytes": cell.state,
        "flops": cell.flops,
        "masked_flops": cell.masked_flops,
        "bytes_moved": cell.bytes_moved,
        "roofline_seconds": cell.roofline_seconds,
        "roofline_fraction": cell.roofline_fraction,
    }


def as_json(bench: Bench) -> dict[str, Any]:
    """All that is known of a bench, of JSON's types."""
    candidates = [{**candidate, "growth": _growths(bench, candidate["name"])} for candidate in bench.candidates]
    return described(bench, candidates, [_cell(bench, cell) for cell in bench.cells])


def described(
    bench: Measured[Any], candidates: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A bench of any kind, of JSON's types, around its candidates and cells."""
    return {
        "command": bench.request.command,
        "complete": bench.complete,
        "seconds": bench.seconds,
        "request": asdict(bench.request),
        "machine": {
            "flops_per_second": bench.peaks.flops,
            "bytes_per_second": {str(size): speed for size, speed in bench.peaks.bandwidths},
        },
        "candidates": candidates,
        "unbuilt": bench.unbuilt,
        "failures": failures(bench),
        "notes": bench.notes,
        "cells": cells,
        "environment": _environment(bench),
    }


def _cell(bench: Bench, cell: Cell) -> dict[str, Any]:
    return csv_row(bench, cell) | repeats_of(cell)


def repeats_of(cell: Cell) -> dict[str, Any]:
    """The seconds of every repeat."""
    seconds = list(cell.seconds)
    extremes = {"fastest_seconds": min(seconds, default=None), "slowest_seconds": max(seconds, default=None)}
    return extremes | {"seconds": seconds}


def _growths(bench: Bench, name: str) -> dict[str, Any]:
    growths = {kind: asdict(bench.growth(kind, name)) for kind in bench.kinds}
    return growths | ({"state": asdict(bench.growth("decode", name, of_state=True))} if "decode" in growths else {})


def _environment(bench: Measured[Any]) -> dict[str, Any]:
    plugins: dict[str, Any] = {}
    for pattern in bench.request.patterns:
        if pattern not in bench.unbuilt:
            plugins |= plugins_of(validate({"mixer": pattern, "layers": None}), with_data=False, with_optimizer=False)
    environment = describe_environment(plugins=plugins, data_sha256="", device=bench.request.device)
    del environment["data_sha256"]  # nothing is read
    return environment
