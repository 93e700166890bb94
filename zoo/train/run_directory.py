"""The folder of a run: its settings, its logs, its samples, and its report."""

import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.files.atomic import (
    BusyError,
    append,
    cannot_make,
    cut_lines,
    locked,
    refuse_link,
    sync_folder,
    sync_size,
    write_atomically,
    writing,
)
from zoo.files.claim import LostClaimError
from zoo.files.logs import Sample, read_events, read_metrics, read_samples, row_line, sample_entry, table
from zoo.files.strict_json import from_json, to_json
from zoo.train.manifest import read_sealed, sha256_of, write_sealed
from zoo.train.shell import quote
from zoo.train.summary import Summary, read_summary

LOGS = ("metrics.jsonl", "samples.txt", "timings.jsonl")
"""What grows during a run, and is cut back to the checkpoint on resuming."""

CHECKPOINTS = "checkpoints"
"""The folder within a run in which its checkpoints lie."""

SAVED_BY = "saved_by"
"""In env.json of a run that ``zoo train`` did not make: what did."""


class _TakenError(UsageError):
    """A place where something lies."""


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run, made by `create` or found by `open`.

    What is a pure function of the settings (metrics, samples) is kept apart from what is not (timings, events), so
    that a run that was killed and resumed ends with the same files as one that was not.
    """

    path: Path

    @classmethod
    def create(cls, root: Path, *, mixer: str, config: Mapping[str, Any], out: Path | None = None) -> "RunDirectory":
        """Make the folder of a new run and write its settings.

        Args:
            root: where runs lie; the new one is named ``<utc time>-<pattern>-<hash of the settings>`` there.
            mixer: the pattern.
            config: the resolved settings, of JSON's types.
            out: the folder itself, where the user named it.

        Raises:
            UsageError: `out` exists, or no folder can be made there.
            ZooError: the folder cannot be written.
        """
        run = cls(_make_folder(out) if out is not None else _make_named_folder(root, run_name(mixer, config)))
        with run.discarded_on_failure():
            run.write_config(config)
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """The run in that folder.

        Raises:
            UsageError: there is none, or its settings cannot be read.
        """
        if not path.is_dir():
            raise UsageError(f"there is no run at {path}: no such folder; `zoo train` prints where it puts a run")
        if not (path / "config.json").is_file():
            raise UsageError(f"{path} is not a run: it holds no config.json; name a folder that `zoo train` made")
        _read_table(path, "config.json")
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / CHECKPOINTS

    @property
    def config(self) -> dict[str, Any]:
        """The settings that the run was made with."""
        return _read_table(self.path, "config.json")

    @property
    def environment(self) -> dict[str, Any]:
        """What the run was made with: versions, machine, data."""
        return _read_table(self.path, "env.json")

    @property
    def summary(self) -> Summary | None:
        """The figures of the run when it had ended; None if it has not, or if they are damaged and to be made anew."""
        try:
            return read_summary(self.path)
        except (UsageError, ValueError):
            return None

    @property
    def tokenizer(self) -> dict[str, Any]:
        """What it takes to build the tokenizer again."""
        return _read_table(self.path, "tokenizer.json")

    @property
    def learned_text(self) -> bool:
        """Whether it learned a text and not a task: its data need not be there any more to tell."""
        return (self.path / "tokenizer.json").is_file()

    def check_resumable(self) -> None:
        """Refuse a run that no optimizer can resume.

        Raises:
            UsageError: ``zoo train`` did not make it, or its checkpoints lie elsewhere.
        """
        refuse_link(self.checkpoints)
        if SAVED_BY in self.environment:
            raise UsageError(
                f"{self.path} was saved by {self.environment[SAVED_BY]} and has no state of an optimizer to resume: "
                "train the model of zoo.load_run further in Python"
            )

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the settings, in place of the earlier ones."""
        write_sealed(self.path, "config.json", to_json(dict(config)))

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write what the run was made with: versions, machine, data."""
        write_sealed(self.path, "env.json", to_json(dict(environment)))

    def write_tokenizer(self, tokenizer: Mapping[str, Any]) -> None:
        """Write what it takes to build the tokenizer again."""
        write_sealed(self.path, "tokenizer.json", to_json(dict(tokenizer)))

    @contextmanager
    def discarded_on_failure(self) -> Iterator[None]:
        """Remove the folder of a new run that fails before its first checkpoint: there is nothing to go on from."""
        try:
            yield
        except (BusyError, LostClaimError):
            raise  # another process works in it
        except BaseException:
            if not self.checkpoints.is_dir() or not any(self.checkpoints.glob("step-*")):
                with suppress(OSError):
                    self.remove()
            raise

    def remove(self) -> None:
        """Remove the folder, its settings last: what a kill leaves of it can still be known as that of a run."""
        kept = {self.path / "config.json", self.path / ".lock"}
        for path in set(self.path.iterdir()) - kept:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (self.path / "config.json").unlink(missing_ok=True)
        shutil.rmtree(self.path)

    @contextmanager
    def lock(self) -> Iterator["RunDirectory"]:
        """Keep other processes out of the run. The lock falls with the process, however that ends.

        Raises:
            UsageError: another process has it.
        """
        with locked(self.path):
            yield self

    def append_metrics(self, row: Mapping[str, float | None]) -> None:
        """Log numbers that are a pure function of the settings: step, loss, learning rate; never a time."""
        append(self.path / "metrics.jsonl", row_line(row))

    def append_timing(self, row: Mapping[str, float | None]) -> None:
        """Log what differs from run to run: seconds, tokens per second."""
        append(self.path / "timings.jsonl", row_line(row))

    def append_sample(self, step: int, text: str) -> None:
        """Log text that the model gave after so many steps."""
        append(self.path / "samples.txt", sample_entry(Sample(step, text)))

    def append_event(self, kind: str, **fields: Any) -> None:
        """Log an event of the run (started, resumed, interrupted, fell back, finished), with the UTC time."""
        path = self.path / "events.jsonl"
        if path.exists():
            cut_lines(path, path.stat().st_size)  # a loss of power may have left half a line
        append(path, row_line({"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "event": kind, **fields}))

    def log_offsets(self) -> dict[str, int]:
        """The size of each log in bytes, once all of it is on the disk. A checkpoint keeps them."""
        offsets = {name: sync_size(self.path / name) for name in LOGS}
        with writing(self.path):
            sync_folder(self.path)
        return offsets

    def log_checksums(self, offsets: Mapping[str, int]) -> dict[str, str]:
        """The checksum of each log up to these offsets. A checkpoint keeps them."""
        return {name: self._log_checksum(name, size) for name, size in offsets.items()}

    def truncate_logs(self, offsets: Mapping[str, int], checksums: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Cut the logs back to where a checkpoint saw them, so that the steps after it can be taken again.

        Args:
            offsets: what `log_offsets` gave at the checkpoint.
            checksums: what `log_checksums` gave then; earlier versions kept none.

        Returns:
            The logs that are not what they were then: they were changed by hand, or damaged.
        """
        known = checksums or {}
        sizes = {name: cut_lines(self.path / name, offsets[name]) for name in LOGS if name in offsets}
        return tuple(
            name
            for name, size in sizes.items()
            if size < offsets[name] or (name in known and self._log_checksum(name, size) != known[name])
        )

    def _log_checksum(self, name: str, size: int) -> str:
        with writing(self.path / name), (self.path / name).open("rb") as file:
            return sha256_of(file.read(size))

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, the oldest first; `UsageError` where a line is damaged."""
        return read_metrics(self.path / "metrics.jsonl")

    def events(self) -> list[dict[str, Any]]:
        """The events of the run, the oldest first; `UsageError` where a line is damaged."""
        return read_events(self.path / "events.jsonl")

    def samples(self) -> list[Sample]:
        """The samples, the oldest first. Where the file was edited, those from there on are left out."""
        return read_samples(self.path / "samples.txt")

    def write_metrics_csv(self) -> Path:
        """Write metrics.csv: the rows of metrics.jsonl, with a column for every name that occurs."""
        path = self.path / "metrics.csv"
        write_atomically(path, table(self.metrics()))
        return path


def run_name(mixer: str, config: Mapping[str, Any]) -> str:
    """The name of a new run: ``<utc time>-<pattern>-<hash of the settings>``."""
    words = re.sub(r"[^a-z0-9]+", "-", mixer.lower()).strip("-")
    slug = words if len(words) <= 40 else words[:40].rpartition("-")[0] or words[:40]
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug or 'run'}-{digest}"


def _make_named_folder(root: Path, name: str) -> Path:
    for suffix in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        with suppress(_TakenError):  # the same settings, started in the same second
            return _make_folder(root / f"{name}{suffix}")
    raise AssertionError("unreachable")


def _make_folder(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        if os.path.lexists(path):
            if not path.is_dir():
                raise _TakenError(f"{path} is no folder: choose another `out`") from None
            resume = f"`zoo train --resume {quote(str(path))}`"
            raise _TakenError(f"{path} exists: choose another `out`, or continue it with {resume}") from None
        raise cannot_make("run directory", path, error) from None
    return path


def _read_table(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        table = from_json(read_sealed(folder, name))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: put it back, or start a new run") from None
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}): put back a good copy") from None
    if not isinstance(table, dict):
        raise UsageError(f"{path} is damaged (it should hold an object of names and values): put back a good copy")
    return table
