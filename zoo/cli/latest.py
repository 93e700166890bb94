"""What ``latest`` stands for where a run or a comparison is asked for."""

import json
from pathlib import Path

from zoo.cli.output import say
from zoo.errors import UsageError

LATEST = Path("latest")


def folder_argument(text: str) -> Path:
    """A path as it was typed; one to a folder that is really called ``latest`` is written ``./latest``."""
    return Path(text) if text == str(LATEST) or Path(text) != LATEST else Path.cwd() / LATEST


def resolve_latest(path: Path, root: Path, *, sign: str, what: str) -> Path:
    """The folder that was asked for: that one, or for ``latest`` the one in `root` that was started last.

    Args:
        path: as `folder_argument` gave it.
        root: where such folders are put.
        sign: the file by which one is known, e.g. ``config.json``.
        what: it is, in words.

    Raises:
        UsageError: there is none yet.
    """
    if path != LATEST:
        return path
    folders = [folder for folder in root.glob("*") if not folder.name.startswith(".")] if root.is_dir() else []
    found = [folder for folder in folders if (folder / sign).is_file()]
    if not found:
        raise UsageError(f"there is no {what} in {root}/ yet, so none is the latest: name its folder")
    # an event has whole seconds: of two that were started in the same one, the file that was written last decides
    newest = max(found, key=lambda folder: (_start_time(folder, sign), (folder / sign).stat().st_mtime_ns, folder.name))
    say(f"latest is {newest}")
    return newest


def _start_time(folder: Path, sign: str) -> float:
    """When it was started: the time of its first event, or of the file by which it is known, in seconds."""
    try:
        with (folder / "events.jsonl").open(encoding="utf-8") as events:
            return _seconds(json.loads(events.readline())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return (folder / sign).stat().st_mtime


def _seconds(time: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(time).timestamp()
