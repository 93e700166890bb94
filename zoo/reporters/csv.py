"""The figures of a run as a table for spreadsheets, while it goes on."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zoo


class Csv(zoo.Reporter):
    """Writes a table that grows with the run, one line a row of metrics.jsonl.

    Every number is written so that it reads back as itself; what a row does not have is left empty. With a folder the
    tables of all runs lie side by side, each under the name of its run and what tells it from others of that name.

    Options:
        folder: for the tables of all runs; empty writes live.csv into the folder of each.
    """

    def __init__(self, *, folder: str = "") -> None:
        self.folder = folder
        self._path = Path()
        self._columns: list[str] = []

    def open(self, run: zoo.ReportedRun, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows that there are, in place of an earlier table of this run."""
        self._path = self._path_of(run)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        self._write("w", [self._columns, *map(self._cells, rows)] if self._columns else [])

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a line. A row with figures that none had before gives the table more columns."""
        if added := [name for name in row if name not in self._columns]:
            earlier = self._read() if self._columns else []
            self._columns += added
            self._write("w", [self._columns, *map(self._cells, earlier)])
        self._write("a", [self._cells(row)])

    def read(self, run: zoo.ReportedRun) -> list[dict[str, Any]] | None:
        """The rows of the table of a run."""
        self._path = self._path_of(run)
        return self._read()

    def _path_of(self, run: zoo.ReportedRun) -> Path:
        return Path(self.folder).expanduser() / f"{run.name}-{run.key}.csv" if self.folder else run.path / "live.csv"

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        return ["" if row.get(name) is None else json.dumps(row[name]) for name in self._columns]

    def _write(self, mode: str, lines: Iterable[Sequence[str]]) -> None:
        with self._path.open(mode, encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)

    def _read(self) -> list[dict[str, Any]]:
        with self._path.open(encoding="utf-8", newline="") as file:
            return [{name: json.loads(cell) for name, cell in line.items() if cell} for line in csv.DictReader(file)]
