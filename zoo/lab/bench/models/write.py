"""The folder of a bench of whole models: its figures as CSV and JSON, its pictures, and the report."""

from pathlib import Path
from typing import Any

from zoo.files.atomic import write_atomically
from zoo.files.logs import table
from zoo.files.strict_json import to_json
from zoo.lab.bench.models.plot import save_plots
from zoo.lab.bench.models.report import write_report
from zoo.lab.bench.models.result import ModelBench, flops_per_second, intensity
from zoo.lab.bench.result import Cell
from zoo.lab.bench.write import described, figures_of, repeats_of

_OF_LAYERS = ("peak_bytes", "roofline_fraction")
"""Columns that a bench of layers has, and that have another name here or nothing to show."""


def write_bench(bench: ModelBench, folder: Path) -> None:
    """Write bench.csv, bench.json, the pictures and report.html into a folder that is there.

    Raises:
        ZooError: a file cannot be written.
    """
    figures = as_json(bench)
    write_atomically(folder / "bench.json", to_json(figures))
    write_atomically(folder / "bench.csv", table([csv_row(bench, cell) for cell in bench.cells]))
    save_plots(bench, folder)
    write_report(bench, figures["environment"], folder)


def csv_row(bench: ModelBench, cell: Cell) -> dict[str, Any]:
    """A cell as a row: costs in seconds and bytes."""
    figures = {name: value for name, value in figures_of(cell).items() if name not in _OF_LAYERS}
    return figures | {
        "operations_per_byte": intensity(cell),
        "flops_per_second": flops_per_second(cell),
        "bound": bench.bound(cell),
        "utilisation": cell.roofline_fraction,
        "ratio_to_dot_product": bench.ratio(cell),
        "failure": cell.failure,
    }


def as_json(bench: ModelBench) -> dict[str, Any]:
    """All that is known of a bench, of JSON's types."""
    return described(bench, bench.candidates, [csv_row(bench, cell) | repeats_of(cell) for cell in bench.cells])
