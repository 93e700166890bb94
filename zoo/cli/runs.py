"""``zoo runs``: list the runs in a folder, and remove some."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.latest import LATEST
from zoo.cli.output import duration, print_json, print_table, say, warn
from zoo.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from zoo.train.listing import ListedRun

_REMOVE = "rm"
"""The first word of a command that removes; a folder of that name is ``./rm``."""

_GLOB = frozenset("*?[")

_STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "damaged": "red"}

ORDERS: "dict[str, Callable[[ListedRun], Any]]" = {
    "time": lambda run: run.started,
    "name": lambda run: run.name,
    "loss": lambda run: _last_if_nan(run.loss),
    "accuracy": lambda run: _last_if_nan(-run.accuracy),
    "steps": lambda run: -run.step,
    "state": lambda run: run.state,
}
"""By what the list can be sorted, the first of it on top."""


def runs(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER or GLOB] …", help="A folder of runs, or '*mamba*': names or mixers in runs/. [runs]"
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="KEY", help="time, name, loss, accuracy, steps or state; the best are on top.")
    ] = "time",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With rm: do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the runs in a folder, or remove some.

    A folder may be that of a comparison, too. With rm as the first word the runs that follow are removed, by name,
    glob or folder, after a question: never one that is running, and nothing that is no run or lies behind a link.
    Examples:

    zoo runs '*attention*' --sort loss

    zoo runs rm 'runs/20250131-*'
    """
    words = what or []
    if words[:1] == [_REMOVE]:
        if sort != "time":
            raise UsageError("--sort orders the list, and rm removes: leave it out")
        _remove(words[1:], yes=yes, json=json)
        return
    if yes:
        raise UsageError("--yes is for `zoo runs rm`, and the list asks nothing: leave it out")
    _list(words, sort, json=json)


def _list(words: Sequence[str], sort: str, *, json: bool) -> None:
    from zoo.train.listing import list_run

    if sort not in ORDERS:
        from zoo.plugin.options import did_you_mean

        raise UsageError(f"--sort {sort}{did_you_mean(sort, ORDERS)}: it should be one of {', '.join(ORDERS)}")
    listed = {path: list_run(path) for path in _named(words)}
    ordered = sorted(listed.values(), key=ORDERS[sort])
    if json:
        print_json([_as_json(run) for run in ordered])
        return
    if not ordered:
        say(f"there is no run {_where(words)}")
        return
    heads = ("name", "mixer", "data", "steps", "loss", "accuracy", "time", "state")
    print_table(heads, [_row(run, name) for run, name in zip(ordered, _names(ordered), strict=True)])
    for run in ordered:
        if run.problem:
            warn(run.problem)


def _remove(words: Sequence[str], *, yes: bool, json: bool) -> None:
    from zoo.train.listing import is_running

    if not words:
        raise UsageError("rm removes the runs that follow it: name them, e.g. zoo runs rm latest, or 'runs/2025*'")
    kept: dict[Path, str] = {}
    chosen = []
    for word in words:
        for path in _to_remove(word):
            if not is_running(path):
                chosen.append(path)
            elif _is_glob(word):
                kept[path] = "it is running"
            else:
                raise UsageError(f"{path} is running: stop it first, or wait until it ends; nothing was removed")
    chosen = list(dict.fromkeys(chosen))
    for path, reason in kept.items():
        warn(f"{path} stays: {reason}")
    removed = list(_removed(chosen, kept)) if chosen and (yes or _agrees(chosen)) else []
    if json:
        print_json({"removed": list(map(str, removed)), "kept": {str(path): reason for path, reason in kept.items()}})
    else:
        say(f"removed {_count(len(removed))}" if removed else "nothing was removed")


def _removed(paths: Iterable[Path], kept: dict[Path, str]) -> Iterator[Path]:
    """Remove the folders; those in which another process is at work by now are kept."""
    from zoo.files.atomic import BusyError
    from zoo.train.run_directory import RunDirectory

    for path in paths:
        try:
            with RunDirectory(path).lock() as run:
                run.remove()
            yield path
        except BusyError as error:
            kept[path] = str(error)
            warn(str(error))


def _agrees(paths: Sequence[Path]) -> bool:
    """Whether the user says yes."""
    for path in paths:
        say(str(path))
    size = sum(file.lstat().st_size for path in paths for file in path.rglob("*"))
    text = f"remove {_count(len(paths))} for good ({size / 1e6:,.1f} MB)? [y/N]"
    if sys.stdin is None:
        raise UsageError("rm asks on stdin, which is closed: pass --yes; nothing was removed")
    say(text)
    answer = sys.stdin.readline()
    if not answer:
        raise UsageError("rm asks on stdin, where no answer came: pass --yes; nothing was removed")
    return answer.strip().lower() in {"y", "yes"}


def _named(words: Sequence[str]) -> list[Path]:
    """The runs that the words name, each once; all in runs/ if there are none."""
    from zoo.cli.train import RUNS, latest_run
    from zoo.train.listing import find_runs, is_run, list_run

    if not words:
        return find_runs(RUNS) if RUNS.is_dir() else []
    found: list[Path] = []
    for word in words:
        path = _existing(word)
        if word == str(LATEST):
            found.append(latest_run(LATEST))
        elif path is not None and (is_run(path) or path.is_dir()):
            found += find_runs(path)
        elif _is_glob(word):
            root, pattern = _split(word)
            inside = find_runs(root) if root.is_dir() else []
            found += [run for run in inside if _matches(run, pattern) or fnmatchcase(list_run(run).mixer, pattern)]
        else:
            raise UsageError(f"there is no folder {word}, nor a run of that name in {RUNS}/: see zoo runs")
    return list(dict.fromkeys(found))


def _to_remove(word: str) -> list[Path]:
    """The runs that a word names, all of which may be removed unless they are running."""
    from zoo.cli.train import latest_run
    from zoo.train.listing import comparison_of, find_runs, is_run

    path = _existing(word)
    if word == str(LATEST):
        found = [latest_run(LATEST)]
    elif path is not None:
        if not is_run(path):
            raise UsageError(f"{path} is not a run, and rm removes nothing else; nothing was removed")
        found = [path]
    else:
        root, pattern = _split(word)
        found = [run for run in find_runs(root) if _matches(run, pattern)] if root.is_dir() else []
        if not found:
            missing = f"no run in {root}/ has a name like {word!r}" if _is_glob(word) else f"there is no run {word}"
            raise UsageError(f"{missing}: see zoo runs; nothing was removed")
    for run in found:
        if run.is_symlink() or run.parent.is_symlink():
            link = run if run.is_symlink() else run.parent
            raise UsageError(f"{run} lies behind a link: name {link.resolve()} if you mean it; nothing was removed")
        if (comparison := comparison_of(run)) is not None:
            raise UsageError(f"{run} belongs to the comparison {comparison}, which needs it; nothing was removed")
    return found


def _existing(word: str) -> Path | None:
    """The folder of that path, or of that name in runs/."""
    from zoo.cli.train import RUNS

    return next((path for path in (Path(word), RUNS / word) if path.is_dir()), None)


def _split(word: str) -> tuple[Path, str]:
    """Where a glob looks, and what for."""
    from zoo.cli.train import RUNS

    return (Path(word).parent, Path(word).name) if os.sep in word else (RUNS, word)


def _is_glob(word: str) -> bool:
    return bool(_GLOB & set(word)) and _existing(word) is None


def _matches(run: Path, pattern: str) -> bool:
    return fnmatchcase(run.name, pattern)


def _where(words: Sequence[str]) -> str:
    return f"like {' or '.join(map(repr, words))}" if words else "in runs/ yet: zoo train makes one"


def _names(listed: "Sequence[ListedRun]") -> list[str]:
    """The names of runs, or their paths where a name stands twice."""
    names = [run.name for run in listed]
    return names if len(set(names)) == len(names) else [str(run.path) for run in listed]


def _row(run: "ListedRun", name: str) -> tuple["str | Text", ...]:
    from rich.text import Text

    steps = f"{run.step:,}" if run.step == run.steps or not run.steps else f"{run.step:,}/{run.steps:,}"
    data = Path(run.data).name if os.sep in run.data and "(" not in run.data else run.data
    loss, accuracy = _figure(run.loss, ".4f"), _figure(run.accuracy, ".1%")
    state = Text(run.state, style=_STYLES.get(run.state, ""))
    return name, run.mixer, data, steps, loss, accuracy, duration(run.seconds), state


def _as_json(run: "ListedRun") -> dict[str, Any]:
    names = ("name", "mixer", "data", "step", "steps", "loss", "accuracy", "seconds", "started", "state", "problem")
    return {"run": str(run.path), **{name: getattr(run, name) for name in names}}


def _figure(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else ""


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _count(number: int) -> str:
    return "1 run" if number == 1 else f"{number:,} runs"
