"""One run of a comparison: started, resumed, or found finished."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zoo.errors import PluginError, UsageError, ZooError
from zoo.files.atomic import BusyError, write_atomically
from zoo.files.claim import LostClaimError
from zoo.files.strict_json import to_json
from zoo.model.faults import describe_error, explain
from zoo.train.find_data import find_source
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.machine import resolve_auto
from zoo.train.manifest import read_sealed
from zoo.train.session import Interrupted, resume, start
from zoo.train.settings import Settings
from zoo.train.summary import SUMMARY, Summary, read_summary

FAILURE = "failure.json"
"""Why a run failed. What failed once would fail again: it is not tried until someone removes the file."""


class StuckError(UsageError):
    """A run that was started and cannot be resumed."""


class Text(NamedTuple):
    """A text of the user's own: its absolute path, and its checksum when the comparison began."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        summary: its figures; None if it failed or was interrupted.
        error: why it failed, in a line.
    """

    summary: Summary | None = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.summary is not None or self.error is not None


def read_outcome(folder: Path) -> Outcome:
    """The outcome of a run so far.

    Raises:
        UsageError: one of its files is damaged.
    """
    path = folder / SUMMARY
    try:
        if (summary := read_summary(folder)) is not None:
            return Outcome(summary=summary)
        path = folder / FAILURE
        if path.is_file():
            return Outcome(error=str(json.loads(read_sealed(folder, FAILURE))["error"]))
    except UsageError as error:
        raise UsageError(f"{error}; or {_again(folder)}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is damaged: {_again(folder)}") from None
    return Outcome()


def run_trial(
    folder: Path, settings: Settings, *, listener: Listener, interrupts: Interrupts, text: Text | None = None
) -> Outcome:
    """Bring a run to its end, from wherever it stands.

    Args:
        folder: of the run; it may not be there yet.
        settings: in full.
        listener: is called as it goes.
        interrupts: who may stop it.
        text: where its text lies; None looks where the settings say.

    Returns:
        What became of it; an `Outcome` that is not over if it was interrupted, and then it is saved.

    Raises:
        BusyError, LostClaimError: another process makes it.
        StuckError: it was started, and cannot be resumed.
        ZooError: what is not the fault of the run, e.g. a full disk.
    """
    outcome = read_outcome(folder)
    if outcome.is_over or interrupts.requested:
        return outcome
    try:
        _bring_to_its_end(folder, settings, listener, interrupts, text)
    except Interrupted:
        return Outcome()
    except (StuckError, BusyError, LostClaimError):
        raise
    except Exception as error:
        if _is_no_fault_of_the_run(error):
            raise
        return _failed(folder, error)
    return read_outcome(folder)


def _bring_to_its_end(
    folder: Path, settings: Settings, listener: Listener, interrupts: Interrupts, text: Text | None
) -> None:
    if any((folder / "checkpoints").glob("step-*")):
        try:
            data = None if text is None else text.path
            resume(folder, data=data, listener=listener, interrupts=interrupts, pages=False)
        except BusyError:
            raise
        except UsageError as error:
            raise StuckError(f"cannot resume the run in {folder}: {error}; {_again(folder)}") from error
        return
    if folder.exists():  # it was stopped before its first checkpoint
        shutil.rmtree(folder)
    found = None
    if text is not None:
        found = find_source(settings, sha256=text.sha256, recorded=text.path, given=text.path, owner="comparison")
    settings = resolve_auto(settings)  # not by a measurement: arms must not differ in their precision
    start(settings, root=folder.parent, out=folder, listener=listener, interrupts=interrupts, pages=False, found=found)


def _is_no_fault_of_the_run(error: Exception) -> bool:
    """A full disk says nothing of the mixer, unless it is the mixer that uses it."""
    if explain(error) is not None or isinstance(error, PluginError):
        return False
    return isinstance(error, OSError) or (isinstance(error, ZooError) and isinstance(error.__cause__, OSError))


def _failed(folder: Path, error: Exception) -> Outcome:
    text = describe_error(error)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FAILURE, to_json({"error": text}, indent=None))
    return Outcome(error=text)


def _again(folder: Path) -> str:
    return f"remove the folder {folder}, and the run is made again"
