"""A disk that is full or read-only, a clock that goes backwards, and two processes in one folder."""

import ctypes
import errno
import os
import random
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from zoo.train import run_directory

from .kills import at_event, undisturbed
from .runs import Child, Recipe, Result, differences, files_of, outcome, prepare_process, recipes, train_command
from .tally import Tally

_DAY = 86400
_CAPABILITIES_3 = 0x20080522


class Undisturbed(NamedTuple):
    """A run, where it lies, and what it leaves when nothing disturbs it."""

    recipe: Recipe
    folder: Path
    expected: dict[str, str]


def _full(_number: int, event: str) -> None:
    """Refuse what needs room: a file that is opened to be written, a folder, a sync; removing things needs none."""
    writes = event.startswith("open") and any(mode in event for mode in ("w", "a", "+", "x"))
    if writes or event in {"os.mkdir", "os.fsync"}:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Let the disk fill before the n-th thing that a short run does to a file, for every n from `first` on.

    The command has to fail with 1 and one line. Once there is room again, the run goes on to the same bits. Then the
    same with real file systems, too small by more and more.
    """
    prepare_process(tally.out, draw=False)
    run = tally.out / "run"
    recipe = recipes(tally.out, steps=7)[0]
    expected, _ = undisturbed(recipe, run)
    what = "a disk that is full from the n-th file event on"
    for number in tally.cases(first, count):
        with tally.timed(what):
            shutil.rmtree(run, ignore_errors=True)
            result = Child(train_command(recipe, run), tally.out, partial(at_event, number, run, _full)).wait()
            if result.code == 0:
                break  # it has fewer events than that
            _check_refused_then_continued(tally, what, Undisturbed(recipe, run, expected), result, {"first": number})
    if first == 0:
        _small_file_systems(tally, recipe)


def _check_refused_then_continued(
    tally: Tally,
    what: str,
    undisturbed_run: Undisturbed,
    result: Result,
    reproduction: dict[str, object],
) -> None:
    recipe, run, expected = undisturbed_run
    if not (result.is_refusal and result.code == 1):
        tally.fail(what, f"exit code {result.code} and no line", **reproduction, err=result.err)
    else:
        tally.add(what, "failed in a line")
    again = Child(train_command(recipe, run), tally.out).wait()
    different = differences(outcome(run), expected) if again.code == 0 else []
    if again.code or different:
        tally.fail(what, f"continued: exit code {again.code}, {different}", **reproduction, err=result.err + again.err)
    else:
        tally.add(what, "continued to the same bits")


def _small_file_systems(tally: Tally, recipe: Recipe) -> None:
    """Needs the right to mount; says so where there is none."""
    what, place = "a real file system that is too small", tally.out / "small"
    place.mkdir(exist_ok=True)
    run = place / "run"
    if not _mount(place, 8192):
        tally.add(what, "not tried: no right to mount")
        return
    try:
        expected, _ = undisturbed(recipe, run)
        for kilobytes in range(8, 600, 24):
            with tally.timed(what):
                shutil.rmtree(run, ignore_errors=True)
                assert _mount(place, kilobytes, again=True)
                result = Child(train_command(recipe, run), tally.out).wait()
                assert _mount(place, 8192, again=True)
                if result.code == 0:
                    tally.add(what, "fitted")
                    continue
                where = {"kilobytes": kilobytes}
                _check_refused_then_continued(tally, what, Undisturbed(recipe, run, expected), result, where)
    finally:
        subprocess.run(["umount", place], check=False)


def _mount(place: Path, kilobytes: int, *, again: bool = False) -> bool:
    options = f"size={kilobytes}k" + (",remount" if again else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _give_up_rights() -> None:
    """Have permissions bind this process, though it is root's: it keeps the user, and drops all capabilities."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0


def read_only(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Read and continue runs in folders that may not be written."""
    prepare_process(tally.out, draw=False)
    what = "a folder that may not be written"
    if os.getuid() != 0:
        tally.add(what, "not tried: only root can give up its rights for one process")
        return
    run = tally.out / "run"
    recipe = recipes(tally.out, steps=7)[0]
    shutil.rmtree(run, ignore_errors=True)
    assert Child(train_command(recipe, run), tally.out).wait().code == 0
    before = files_of(run)
    for path in [run, *run.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    run.parent.chmod(0o755)
    longer = ["train", "--resume", str(run), "--steps", "12"]
    generate = ["generate", str(run), "--tokens", "8", "--device", "cpu"]
    inspect = ["inspect", str(run), "--tokens", "64", "--device", "cpu"]
    fresh = train_command(recipe, run / "new")
    commands = {"generate": generate, "resume": longer, "continue": longer[:-2], "inspect": inspect, "start": fresh}
    try:
        for name, command in commands.items():
            with tally.timed(what):
                result = Child(command, tally.out, _give_up_rights).wait()
            if differences(files_of(run), before):
                tally.fail(what, f"{name}: changed the folder", err=result.err)
            elif (result.code == 0) != (name == "generate") or (result.code and not result.is_refusal):
                tally.fail(what, f"{name}: exit code {result.code}", err=result.err)
            else:
                tally.add(what, f"{name}: {'done' if result.code == 0 else 'refused in a line'}")
    finally:
        for path in [run, *run.rglob("*")]:
            path.chmod(0o755)


def _go_back(after: float) -> None:
    """Have the clock of this process show a day less, `after` seconds from now on."""
    clock, clock_ns, since = time.time, time.time_ns, time.monotonic()

    def back() -> int:
        return _DAY if time.monotonic() - since >= after else 0

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) - timedelta(seconds=back())

    time.time = lambda: clock() - back()
    time.time_ns = lambda: clock_ns() - back() * 10**9
    run_directory.datetime = Earlier


def clock(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Set the clock back by a day in the midst of a run, and between its start and its end."""
    prepare_process(tally.out, draw=False)
    run, what = tally.out / "run", "a clock that is set back"
    for case in tally.cases(first, count):
        recipe = recipes(tally.out, steps=25)[case % 3]
        expected, duration = undisturbed(recipe, run)
        chance = random.Random(f"{seed}/{case}")
        for name, killed in (("in the midst", False), ("between start and end", True)):
            with tally.timed(what):
                shutil.rmtree(run, ignore_errors=True)
                if killed:
                    _kill_after(Child(train_command(recipe, run), tally.out), chance.random() * duration)
                after = 0.0 if killed else chance.random() * duration
                result = Child(train_command(recipe, run), tally.out, partial(_go_back, after)).wait()
                different = differences(outcome(run), expected) if result.code == 0 else []
            if result.code or different:
                tally.fail(what, f"{name}: {result.code} {different}", seed=seed, first=case, err=result.err)
            else:
                tally.add(what, f"{name}: the same bits")


def _kill_after(child: Child, seconds: float) -> Result:
    time.sleep(seconds)
    child.kill()
    return child.wait()


def pairs(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Start two processes on one folder, at the same moment or one a little after the other."""
    prepare_process(tally.out, draw=False)
    run, what = tally.out / "run", "two processes in one folder"
    recipe = recipes(tally.out, steps=7)[0]
    expected, duration = undisturbed(recipe, run)
    for case in tally.cases(first, count):
        chance = random.Random(f"{seed}/{case}")
        delay = chance.choice([0.0, chance.random() * 0.05, chance.random() * duration])
        with tally.timed(what):
            shutil.rmtree(run, ignore_errors=True)
            earlier = Child(train_command(recipe, run), tally.out)
            time.sleep(delay)
            later = Child(train_command(recipe, run), tally.out)
            results = [earlier.wait(), later.wait()]
            if all(result.code for result in results):
                tally.add(what, "neither of the two won")
            different = _different_at_the_end(tally, recipe, run, expected)
        wrong = [result for result in results if result.code and not (result.code == 2 and result.is_refusal)]
        if wrong or different:
            said = [(result.code, result.err) for result in results]
            tally.fail(what, f"{[r.code for r in results]}, {different}", seed=seed, first=case, delay=delay, said=said)
        else:
            codes = sorted(result.code for result in results)
            tally.add(what, "one won, the other was refused" if codes == [0, 2] else f"exit codes {codes}")


def _different_at_the_end(tally: Tally, recipe: Recipe, run: Path, expected: dict[str, str]) -> list[str]:
    result = Child(train_command(recipe, run), tally.out).wait()
    return differences(outcome(run), expected) if result.code == 0 else [result.err]
