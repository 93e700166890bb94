"""A run that is started where there is none and resumed where there is one, by the same command."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.files.strict_json import from_json
from zoo.train.checkpoint import STAGED
from zoo.train.engine.ranks import Ranks
from zoo.train.finetune import Origin
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.machine import resolve_auto
from zoo.train.manifest import MANIFEST, DamagedError, decode_manifest
from zoo.train.run_directory import CHECKPOINTS, LOGS, RunDirectory
from zoo.train.session import resume, start
from zoo.train.settings import Settings
from zoo.train.summary import Summary

OF_THE_MACHINE = ("engine", "device", "precision", "threads", "compile")
"""Settings that a run keeps as it was started with, whatever machine it is continued on."""

_BESIDE_SETTINGS = {"env.json", "tokenizer.json", "events.jsonl", MANIFEST, *LOGS}
"""What a start writes after config.json and before the first checkpoint."""


def start_or_resume(
    settings: Settings,
    out: Path,
    *,
    listener: Listener | None = None,
    interrupts: Interrupts | None = None,
    pages: bool = True,
    ranks: Ranks | None = None,
    report: str | None = None,
    origin: Origin | None = None,
) -> Summary:
    """Resume the run in a folder; start it there if it has not got as far as its first checkpoint.

    Args:
        settings: of the run, which may still hold ``auto``. A later last step trains it longer.
        out: its folder.
        listener, interrupts, pages, ranks, report, origin: as in `zoo.train.session.start`.

    Raises:
        UsageError: the folder holds a run with other settings, or something else. And as `start` and `resume`.
    """
    ranks = ranks or Ranks()
    started = ranks.first(partial(_has_started, out, settings, ranks))
    how: dict[str, Any] = {"listener": listener, "interrupts": interrupts, "pages": pages, "ranks": ranks}
    if started:
        return resume(out, steps=settings.steps, report=report, **how)
    return start(settings, root=out.parent, out=out, report=report, origin=origin, **how)


def _has_started(out: Path, settings: Settings, ranks: Ranks) -> bool:
    """Whether there is something to resume. What a start that was cut off has left is removed."""
    if not out.is_dir():
        return False
    run = RunDirectory(out)
    if any(run.checkpoints.glob("step-*")):
        _check_the_same(RunDirectory.open(out), resolve_auto(settings, ranks))
        return True
    strange = sorted(str(path.relative_to(out)) for path in _files(out) if not _is_of_a_start(path, out))
    if strange:
        raise UsageError(f"{out} holds no run but {strange[0]}: choose another `out`")
    with run.lock():  # nobody is just starting it
        run.remove()
    return False


def _files(folder: Path) -> Iterator[Path]:
    """What lies in a folder, and what lies in its folder of checkpoints."""
    for path in folder.iterdir():
        yield from path.iterdir() if path.name == CHECKPOINTS and path.is_dir() else (path,)


def _is_of_a_start(path: Path, out: Path) -> bool:
    """Whether a start that was cut off has left it, and nothing else could have."""
    if path.parent != out:
        return path.name.startswith(STAGED)
    if path.name == "config.json":
        return _holds_settings(path)
    if path.name == MANIFEST and not (out / "config.json").exists():
        return _is_of_settings_alone(path)
    if path.name in _BESIDE_SETTINGS:
        return _holds_settings(out / "config.json")
    return path.name == ".lock" or (path.name.startswith(".") and path.name.endswith(".partial"))


def _is_of_settings_alone(path: Path) -> bool:
    """Whether it is the manifest that a start writes first of all, just before config.json."""
    try:
        return list(decode_manifest(path.read_bytes())["files"]) == ["config.json"]
    except (OSError, DamagedError, KeyError, TypeError):
        return False


def _holds_settings(path: Path) -> bool:
    try:
        values = from_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "mixer" in values and values.keys() <= Settings.model_fields.keys()


def _check_the_same(run: RunDirectory, settings: Settings) -> None:
    saved, asked = run.config, settings.model_dump()
    for name, value in asked.items():
        if name in saved and name != "steps" and name not in OF_THE_MACHINE and saved[name] != value:
            raise UsageError(
                f"the run in {run.path} has {name}={saved[name]}, and {name}={value} was asked for: choose another "
                f"`out`, or leave the settings as they were"
            )
