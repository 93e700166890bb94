"""The folder of a comparison: what was planned, the runs, and what came of them."""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.files.atomic import cannot_make, locked, write_atomically, writing
from zoo.files.strict_json import to_json
from zoo.lab.compare.plan import Plan, Trial, plan_as_json, plan_from_json
from zoo.train.manifest import read_sealed, write_sealed

PLAN = "comparison.json"
STOP = "stop"
"""A file of this name asks all runs to save and end after their step, wherever they are made."""


@dataclass(frozen=True)
class Folder:
    """Where a comparison lies."""

    path: Path

    @classmethod
    def create(cls, plan: Plan, *, root: Path, out: Path | None) -> "Folder":
        """Make the folder of a new comparison and write its plan.

        Args:
            plan: of the comparison.
            root: where comparisons lie, each as ``<utc time>-<hash>``.
            out: the folder itself, where the user named it; it may be there if it is empty.

        Raises:
            UsageError: `out` holds something, or no folder can be made there.
            ZooError: it cannot be written.
        """
        if out is not None:
            cls.check_free(out)
        digest = hashlib.sha256(plan.command.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        path = out or _free(root / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{digest}")
        try:
            path.mkdir(parents=True, exist_ok=out is not None)
        except OSError as error:
            raise cannot_make("folder", path, error) from None
        folder = cls(path)
        write_sealed(path, PLAN, to_json(plan_as_json(plan)))
        return folder

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a place where something lies.

        Raises:
            UsageError: with what to do.
        """
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(f"{path} holds other files: choose another `out`, so that nothing of them is lost")
        if os.path.lexists(path) and not path.is_dir():
            raise UsageError(f"{path} is a file: choose another `out`")

    @classmethod
    def holds_one(cls, path: Path) -> bool:
        """Whether a comparison was started there."""
        return (path / PLAN).is_file()

    @property
    def plan(self) -> Plan:
        """What was planned.

        Raises:
            UsageError: there is no comparison, or its plan is damaged.
        """
        return plan_from_json(self.read(PLAN))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            UsageError: another one is at work.
        """
        with locked(self.path):
            yield

    @property
    def is_to_stop(self) -> bool:
        """Whether the runs were asked to save and end."""
        return (self.path / STOP).exists()

    def ask_to_stop(self) -> None:
        """Ask the runs to save and end after their step."""
        with writing(self.path / STOP):
            (self.path / STOP).touch()

    def forget_stop(self) -> None:
        """Let runs go on."""
        with writing(self.path / STOP):
            (self.path / STOP).unlink(missing_ok=True)

    def trial(self, plan: Plan, trial: Trial) -> Path:
        """Where a run lies."""
        arm = plan.arms[trial.arm]
        kind = "sweep" if trial.sweep else "run"
        name = f"{trial.arm:02d}-{_slug(arm.data)}-{_slug(arm.pattern)}"
        return self.path / "runs" / name / f"{kind}-lr{trial.lr}-seed{trial.seed}"

    def read(self, name: str) -> dict[str, Any]:
        """One of its JSON files.

        Raises:
            UsageError: it is missing or damaged.
        """
        path = self.path / name
        try:
            return dict(json.loads(read_sealed(self.path, name)))
        except FileNotFoundError:
            raise UsageError(f"{self.path} holds no comparison: {name} is missing") from None
        except UsageError:
            raise
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path} is damaged ({error}): put back a good copy") from None

    def write(self, name: str, text: str) -> Path:
        """Write one of its files, in place of an earlier one."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
        return path


def _slug(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:32].strip("-") or "x"


def _free(path: Path) -> Path:
    """The path, or with a number behind it where the same comparison was started in the same second."""
    names = itertools.chain([path.name], (f"{path.name}-{number}" for number in itertools.count(2)))
    return next(place for name in names if not os.path.lexists(place := path.with_name(name)))
