"""The laws of reporters: what they hold is what the run logged, and neither the run nor the process is touched."""

import math
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch

from zoo.errors import UsageError
from zoo.files.logs import row_line
from zoo.reporter import ReportedRun, Reporter, Row
from zoo.testing.law import Law, by_id, law
from zoo.testing.laws import member, options
from zoo.testing.member import MemberCase
from zoo.testing.violation import LawViolation, NotApplicable

_ROWS = 6
_KILLED = 4
"""Rows that were logged when the run was killed; it goes on from half of them."""

_FIGURES = {"steps": 60, "validation_loss": 1.25, "bits_per_byte": None}
_SAMPLE = "def f(x):\n    return 'ü' < x"


class ReporterCase(MemberCase):
    """A case of a reporter."""

    def create(self) -> Reporter:
        """A new one."""
        return cast(Reporter, super().create())

    def use(self) -> None:
        """Report a run from its beginning to its end."""
        with self.run() as run:
            self.report(run, [], rows_of(self.seed))

    @contextmanager
    def run(self, name: str = "run") -> Iterator[ReportedRun]:
        """A run that has logged nothing, in a folder of its own, which is the working directory meanwhile."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, chdir(place):
            folder = Path(place, name)
            folder.mkdir()
            settings = {"mixer": "correlation", "lr": 1e-3, "layers": None, "compile": False, "data": "a, b = <c>"}
            (folder / "config.json").write_text("{}\n")
            (folder / "metrics.jsonl").write_text("")
            key = f"{Path(place).name:x>16}"[-16:]
            yield ReportedRun(folder, name, key, settings, {"zoo": "0", "cpu": {"cores": 2}})

    def report(self, run: ReportedRun, before: Sequence[Row], rows: Sequence[Row], *, ends: bool = True) -> Reporter:
        """Report rows; without an end as one does that is killed."""
        reporter = self.opened(run, before)
        for row in rows:
            reporter.row(row)
            reporter.sample(int(row["step"] or 0), _SAMPLE)
        if ends:
            reporter.finish(_FIGURES)
            reporter.close()
        return reporter

    def opened(self, run: ReportedRun, before: Sequence[Row]) -> Reporter:
        """A new one that has begun. `NotApplicable` if it needs what is not here."""
        reporter = self.create()
        try:
            reporter.open(run, before)
        except UsageError as error:
            raise NotApplicable(str(error)) from None
        return reporter


def rows_of(seed: int, count: int = _ROWS) -> list[Row]:
    """Rows as a run logs them: every second one with a validation."""
    drawn, rows = random.Random(seed), list[Row]()
    for number in range(1, count + 1):
        row: dict[str, float | None] = {"step": 10 * number, "tokens": 1 << (9 * number % 40)}
        row |= {"train_loss": drawn.gauss(2, 1), "lr": drawn.random() * 1e-3, "gradient_norm": 10 ** drawn.gauss(0, 9)}
        if number % 2 == 0:
            row |= {"validation_loss": drawn.gauss(2, 1), "validation_accuracy": None if number == 2 else 1 / 3}
        rows.append(row)
    return rows


@law(
    "reads-back",
    bug="Numbers that are kept in float32: a curve of the viewer that nobody can compare with metrics.jsonl.",
    limit=2,
)
def reads_back(case: ReporterCase) -> None:
    """It holds the rows that it was given, in their order, to the last digit."""
    with case.run() as run:
        rows = rows_of(case.seed)
        case.report(run, [], rows)
        _check_holds(case, run, rows, "at the end of a run")


@law(
    "resumed",
    bug="Steps that a killed run made are kept beside those that it makes again: the curve goes back in time.",
    limit=2,
)
def resumed(case: ReporterCase) -> None:
    """Of a run that was killed and goes on from an earlier step it holds what counts, once."""
    with case.run() as run:
        rows, again = rows_of(case.seed), rows_of(case.seed + 1)
        kept = rows[: _KILLED // 2]
        lost = case.report(run, [], rows[:_KILLED], ends=False)
        rows = [*kept, *again[len(kept) :]]
        case.report(run, kept, rows[len(kept) :])
        _check_holds(case, run, rows, "of a run that was killed and resumed")
        del lost  # until here: a process that was killed closes nothing


@law(
    "replayed",
    bug="A replay that adds its rows to those that are there: `zoo report` doubles the curve.",
    limit=2,
)
def replayed(case: ReporterCase) -> None:
    """A run that is replayed, once or twice, is held as one that was reported as it went."""
    with case.run() as run:
        rows = rows_of(case.seed)
        case.report(run, [], rows[:_KILLED])
        for _ in range(2):
            case.report(run, rows, [])
        _check_holds(case, run, rows, "of a run that was replayed twice")


@law(
    "side-by-side",
    bug="One connection for the whole process: of two runs in a notebook the second ends up in the first.",
    limit=1,
)
def side_by_side(case: ReporterCase) -> None:
    """Two runs that are reported at the same time are kept apart."""
    with case.run("one") as one, case.run("other") as other:
        ours, theirs = rows_of(case.seed), rows_of(case.seed + 1)
        first, second = case.opened(one, []), case.opened(other, [])
        for row, row_of_other in zip(ours, theirs, strict=True):
            first.row(row)
            second.row(row_of_other)
        first.close()
        second.close()
        _check_holds(case, one, ours, "beside another run")
        _check_holds(case, other, theirs, "beside another run")


@law(
    "run-intact",
    bug="A reporter that tidies up the folder of the run: what it removes is the run.",
    limit=1,
)
def run_intact(case: ReporterCase) -> None:
    """The files of the run stay as they are: it may only add its own."""
    with case.run() as run:
        before = {path.name: path.read_bytes() for path in run.path.iterdir()}
        case.report(run, [], rows_of(case.seed))
        for name, content in before.items():
            path = run.path / name
            if not path.is_file() or path.read_bytes() != content:
                raise LawViolation(f"it {'changes' if path.is_file() else 'removes'} {name} of the run")


@law(
    "process-intact",
    bug="A library that takes SIGINT for itself: Ctrl-C ends the run without a checkpoint.",
    limit=1,
)
def process_intact(case: ReporterCase) -> None:
    """While it reports, signals, random numbers, the working directory and the streams are those of the run."""
    with case.run() as run:
        before = _process()
        reporter = case.opened(run, [])
        try:
            for row in rows_of(case.seed, 2):
                reporter.row(row)
            changed = [name for name, value in _process().items() if value != before[name]]
        finally:
            reporter.close()
            _put_back(before)
        if changed:
            raise LawViolation(f"it changes {', '.join(changed)} of the process")


@law(
    "starts-nothing",
    bug="A connection in __init__: a mistake in a setting of the run leaves an empty run on the server.",
    grade="finish",
    limit=1,
    varies=False,
)
def starts_nothing(case: ReporterCase) -> None:
    """Making one starts no thread and writes nothing into the working directory."""
    threads = set(threading.enumerate())
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        case.create()
        written = sorted(path.name for path in Path(folder).iterdir())
    if started := sorted(thread.name for thread in set(threading.enumerate()) - threads):
        raise LawViolation(f"__init__ starts the thread {started[0]}")
    if written:
        raise LawViolation(f"__init__ writes {written[0]} into the working directory")


def _check_holds(case: ReporterCase, run: ReportedRun, rows: Sequence[Row], when: str) -> None:
    read = case.create().read(run)
    if read is None:
        raise NotApplicable("it does not read back what it holds")
    held, expected = [_known(row) for row in read], [_known(row) for row in rows]
    if len(held) != len(expected):
        raise LawViolation(f"it holds {len(held)} of {len(expected)} rows {when}")
    for number, (got, given) in enumerate(zip(held, expected, strict=False), 1):
        for name in {**given, **got}:
            if got.get(name) != given.get(name):
                raise LawViolation(f"{name} of row {number} is {got.get(name)!r} and not {given.get(name)!r} {when}")


def _known(row: Row) -> dict[str, Any]:
    """What the row says, as JSON has it; a number that is not finite, or None, says nothing."""
    row_line(row)  # of JSON's types
    return {name: value for name, value in row.items() if value is not None and math.isfinite(value)}


def _process() -> dict[str, Any]:
    """What all code of the process shares, by what it is called."""
    return {
        "the handler of SIGINT": signal.getsignal(signal.SIGINT),
        "the handler of SIGTERM": signal.getsignal(signal.SIGTERM),
        "torch's random numbers": torch.get_rng_state().tolist(),
        "Python's random numbers": random.getstate(),
        "the working directory": str(Path.cwd()),
        "stdout": sys.stdout,
        "stderr": sys.stderr,
        "sys.excepthook": sys.excepthook,
    }


def _put_back(before: Mapping[str, Any]) -> None:
    with suppress(ValueError):  # only the main thread has signals
        signal.signal(signal.SIGINT, before["the handler of SIGINT"])
        signal.signal(signal.SIGTERM, before["the handler of SIGTERM"])
    os.chdir(before["the working directory"])
    sys.stdout, sys.stderr, sys.excepthook = before["stdout"], before["stderr"], before["sys.excepthook"]


REPORTER_LAWS: Mapping[str, Law] = by_id(
    [
        reads_back,
        resumed,
        replayed,
        side_by_side,
        run_intact,
        process_intact,
        starts_nothing,
        options.options_round_trip,
        member.options_refused,
        options.docstring,
    ]
)
"""By id."""
