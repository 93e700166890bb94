"""Reporters that judge the laws: sound ones, and ones that break a law."""

import io
import json
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import torch

from zoo import Reporter, UsageError

from .any_kind import option_controls


class Table(Reporter):
    """Rows as JSON lines."""

    def open(self, run, rows):
        self.path = run.path / "table.jsonl"
        self.path.write_text("".join(self.line(row) for row in rows))

    def row(self, row):
        with self.path.open("a") as file:
            file.write(self.line(row))

    def line(self, row):
        return f"{json.dumps(dict(row))}\n"

    def read(self, run):
        path = run.path / "table.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


class Silent(Reporter):
    """Sends rows to where nobody can read them."""

    def open(self, run, rows):
        pass

    def row(self, row):
        pass


class Unavailable(Silent):
    """A service that does not know the user."""

    def open(self, run, rows):
        raise UsageError("log in first")


class LeavesNothingOut(Table):
    """Rows without what is None."""

    def line(self, row):
        return super().line({name: value for name, value in row.items() if value is not None})


SOUND = [Table, Silent, Unavailable, LeavesNothingOut]


# reads-back


class Rounds(Table):
    """Numbers in float32."""

    def line(self, row):
        return super().line({name: value and torch.tensor(value).item() for name, value in row.items()})


class ForgetsTheLast(Table):
    """A row is written when the next one comes."""

    last = ""

    def row(self, row):
        with self.path.open("a") as file:
            file.write(self.last)
        self.last = self.line(row)


# resumed


class Appends(Table):
    """Keeps what is there."""

    def open(self, run, rows):
        self.path = run.path / "table.jsonl"
        if not self.path.is_file():
            super().open(run, rows)


class StartsAnew(Table):
    """Forgets what came before."""

    def open(self, run, rows):
        super().open(run, [])


# replayed


class AddsTheReplay(Table):
    """Adds what it is opened with, without those steps that came later."""

    def open(self, run, rows):
        self.path = run.path / "table.jsonl"
        steps = {row["step"] for row in rows}
        known = [] if len(steps) <= 2 else self.read(run)
        self.path.write_text("".join(self.line(row) for row in [*known, *rows]))


class TakesRowsOnly(Table):
    """Opens with nothing where there is more than a few rows."""

    def open(self, run, rows):
        super().open(run, rows if len(rows) < 4 else rows[:3])


# side-by-side


class Shared(Table):
    """One file for the process."""

    def open(self, run, rows):
        super().open(run, rows)
        type(self).path = self.path
        del self.path


class OneList(Reporter):
    """A list of the process, and not of the run."""

    held: ClassVar[list[dict[str, Any]]] = []

    def open(self, run, rows):
        self.held[:] = rows

    def row(self, row):
        self.held.append(row)

    def read(self, run):
        return self.held


# run-intact


class TidiesUp(Table):
    """Removes logs that are empty."""

    def close(self):
        for path in self.path.parent.iterdir():
            if not path.stat().st_size:
                path.unlink()


class KeepsItsSettingsThere(Table):
    """Writes what it needs into config.json."""

    def open(self, run, rows):
        super().open(run, rows)
        (run.path / "config.json").write_text('{"reporter": "table"}\n')


# process-intact


class TakesSignals(Table):
    """Closes at Ctrl-C."""

    def open(self, run, rows):
        super().open(run, rows)
        signal.signal(signal.SIGINT, lambda *_: self.close())


class DrawsNumbers(Table):
    """Waits for a random time."""

    def row(self, row):
        super().row(row)
        time.sleep(random.random() / 1e6)


class CatchesStdout(Table):
    """Keeps what is printed."""

    def open(self, run, rows):
        super().open(run, rows)
        sys.stdout = io.StringIO()


# starts-nothing


class StartsAThread(Table):
    """Sends rows in the background from the beginning."""

    def __init__(self):
        threading.Thread(target=time.sleep, args=(1,), daemon=True, name="sending").start()


class WritesAtOnce(Table):
    """Makes its folder before there is a run."""

    def __init__(self):
        Path("reports").mkdir()


BROKEN = [
    ("reads-back", Rounds),
    ("reads-back", ForgetsTheLast),
    ("resumed", Appends),
    ("resumed", StartsAnew),
    ("replayed", AddsTheReplay),
    ("replayed", TakesRowsOnly),
    ("side-by-side", Shared),
    ("side-by-side", OneList),
    ("run-intact", TidiesUp),
    ("run-intact", KeepsItsSettingsThere),
    ("process-intact", TakesSignals),
    ("process-intact", DrawsNumbers),
    ("process-intact", CatchesStdout),
    ("starts-nothing", StartsAThread),
    ("starts-nothing", WritesAtOnce),
    *option_controls(Table, "row", paper=False),
]
