"""The runs in a folder, each with what its files say at a glance: hundreds of them in a second, without torch."""

import math
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoo.errors import ZooError
from zoo.files.strict_json import from_json
from zoo.train.manifest import read_sealed

State: TypeAlias = Literal["finished", "running", "interrupted", "failed", "saved", "damaged"]
"""What became of a run: ``failed`` where its loss was not finite, ``saved`` where `zoo.save_run` made it."""

SIGN = "config.json"
"""The file by which a run is known."""

COMPARISON = "comparison.json"
"""The file by which the folder of a comparison is known."""

_TAIL = 1 << 15
"""Bytes at the end of a log that are looked at: some hundred rows."""

_SILENCE = 600.0
"""Seconds without a new row after which a run that was started on another machine no longer counts as running."""

_LEFT: Mapping[str, State] = {
    "finished": "finished",
    "saved": "saved",
    "not finite": "failed",
}
"""The last event of a run that nobody is making, and what became of it; after any other it is interrupted."""


@dataclass(frozen=True)
class ListedRun:
    """What the files of a run say at a glance. NaN or empty where they do not.

    Attributes:
        mixer: the pattern; `data` likewise as it was asked for.
        step: how many updates were made, of `steps`.
        loss: the last validation loss; `accuracy` likewise.
        seconds: of training, as far as it was logged.
        started: the UTC time, as in ``2025-01-31T12:00:00Z``.
        problem: what is damaged.
    """

    path: Path
    mixer: str
    data: str
    step: int
    steps: int
    loss: float
    accuracy: float
    seconds: float
    started: str
    state: State
    problem: str = ""

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.name or str(self.path.absolute().name)


def find_runs(folder: Path) -> list[Path]:
    """The folders of the runs in a folder, by name: of those that lie there, and of those of comparisons that do.

    Args:
        folder: of runs, of a comparison or of comparisons, or that of a run itself.

    Raises:
        OSError: it cannot be read.
    """
    if is_run(folder):
        return [folder]
    if is_comparison(folder):
        return list(_runs_of(folder))
    children = sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())
    return [run for child in children for run in ([child] if is_run(child) else _runs_of(child))]


def is_comparison(folder: Path) -> bool:
    """Whether that is the folder of a comparison."""
    return (folder / COMPARISON).is_file()


def comparison_of(run: Path) -> Path | None:
    """The folder of the comparison that a run belongs to, if it does."""
    folder = run.absolute().parents[2] if len(run.absolute().parents) > 2 else run
    return folder if is_comparison(folder) else None


def is_run(folder: Path) -> bool:
    """Whether that is the folder of a run, damaged or not: others' folders have a config.json, too."""
    try:
        config = from_json((folder / SIGN).read_bytes())
    except OSError:
        return False
    except ValueError:
        return (folder / "events.jsonl").is_file() or (folder / "checkpoints").is_dir()
    return isinstance(config, dict) and {"mixer", "dim", "context"} <= set(config)


def list_run(path: Path) -> ListedRun:
    """What the files of a run say at a glance."""
    config, problem = _read_sealed(path, SIGN)
    summary, problem_of_summary = _read_sealed(path, "summary.json")
    metrics, timings = _rows(path / "metrics.jsonl"), _rows(path / "timings.jsonl")
    events = _rows(path / "events.jsonl")
    problem = problem or problem_of_summary or ("" if config else f"{path / SIGN} holds no settings")
    finished = _event(events) == "finished" and bool(summary)
    source = [summary] if finished else metrics
    made = [summary.get("steps")] if finished else [_last(metrics, "step"), _last(events, "step")]
    return ListedRun(
        path=path,
        mixer=str(config.get("mixer", "")),
        data=str(config.get("data", "")),
        step=max((step for step in made if isinstance(step, int)), default=0),
        steps=config["steps"] if isinstance(config.get("steps"), int) else 0,
        loss=_number(_last(source, "validation_loss")),
        accuracy=_number(_last(source, "validation_accuracy")),
        seconds=_number(summary.get("seconds") if finished else _last(timings, "seconds")),
        started=_started(path),
        state="damaged" if problem else _state(path, events, bool(summary)),
        problem=problem,
    )


def is_running(path: Path) -> bool:
    """Whether a process makes that run just now, here or, as far as its files tell, on another machine."""
    if _is_locked(path / ".lock"):
        return True
    events = _rows(path / "events.jsonl")
    if _event(events) not in {"started", "resumed"} or events[-1].get("host") in (None, platform.node()):
        return False
    times = [0.0]
    for name in ("metrics.jsonl", "events.jsonl"):
        with suppress(OSError):
            times.append((path / name).stat().st_mtime)
    return time.time() - max(times) < _SILENCE


def _runs_of(comparison: Path) -> Iterator[Path]:
    """The runs of a comparison, by pattern; none if that is another folder."""
    if is_comparison(comparison):
        yield from (sign.parent for sign in sorted(comparison.glob(f"runs/*/*/{SIGN}")) if is_run(sign.parent))


def _state(path: Path, events: list[dict[str, Any]], has_summary: bool) -> State:
    event = _event(events)
    if event in {"", "finished"} and has_summary:  # the first versions kept no events
        return "finished"
    if event not in _LEFT and is_running(path):
        return "running"
    # a kill between the last event and the summary leaves something to do
    return "interrupted" if event == "finished" else _LEFT.get(event, "interrupted")


def _event(events: list[dict[str, Any]]) -> str:
    """The last event that says how the run stands."""
    kinds = {"started", "resumed", "interrupted", *_LEFT}
    return next((str(row["event"]) for row in reversed(events) if row.get("event") in kinds), "")


def _started(path: Path) -> str:
    try:
        with (path / "events.jsonl").open(encoding="utf-8") as events:
            started = from_json(events.readline())["time"]
            return started if isinstance(started, str) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read_sealed(path: Path, name: str) -> tuple[dict[str, Any], str]:
    """A file of JSON, and what is wrong with it; of one that is not there neither."""
    try:
        content = from_json(read_sealed(path, name))
    except FileNotFoundError:
        return {}, ""
    except ZooError as error:
        return {}, str(error)
    except ValueError:
        return {}, f"{path / name} is damaged: put back a good copy"
    return (content, "") if isinstance(content, dict) else ({}, f"{path / name} is damaged: put back a good copy")


def _rows(path: Path) -> list[dict[str, Any]]:
    """The last rows of a log, the oldest first; lines that cannot be read are left out."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    rows = []
    for line in lines[:-1] if size <= _TAIL else lines[1:-1]:
        with suppress(ValueError):
            rows.append(from_json(line))
    return [row for row in rows if isinstance(row, dict)]


def _last(rows: list[dict[str, Any]], name: str) -> Any:
    return next((row[name] for row in reversed(rows) if row.get(name) is not None), None)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _is_locked(lock: Path) -> bool:
    """Whether another process holds a lock; the look is shared, and over at once, so that it stands in nobody's way."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return False
    with suppress(OSError), lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
    return False
