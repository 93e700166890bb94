"""SIGKILL at any moment of training: what is continued ends bit for bit as what was not killed."""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from .runs import Child, Recipe, differences, outcome, prepare_process, recipes, replace_folder, train_command
from .tally import Tally

_MAX_KILLS = 3
"""Of one run."""

_MAX_CASES = 10**6

_FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.scandir"}


def undisturbed(recipe: Recipe, run: Path) -> tuple[dict[str, str], float]:
    """The outcome of the run that nothing disturbs, and how many seconds it takes; the folder is removed."""
    seconds = []
    for _ in range(2):  # the first fills the cache
        shutil.rmtree(run, ignore_errors=True)
        began = time.monotonic()
        result = Child(train_command(recipe, run), run.parent).wait()
        seconds.append(time.monotonic() - began)
        assert result.code == 0, result.err
    expected = outcome(run)
    shutil.rmtree(run)
    return expected, seconds[-1]


def kills(tally: Tally, *, count: int, seed: int, first: int = 0, steps: int = 50) -> None:
    """Kill runs `count` times at moments drawn evenly from their undisturbed duration.

    Args:
        tally: of the campaign.
        count: of kills that hit a running process.
        seed: of the moments.
        first: the number of the first case; another one gives other moments.
        steps: of each run.
    """
    prepare_process(tally.out)
    run, killed = tally.out / "run", 0
    known = [(recipe, cache(partial(undisturbed, recipe, run))) for recipe in recipes(tally.out, steps=steps)]
    for case in tally.cases(first, _MAX_CASES):
        if killed >= count:
            break
        recipe, of_the_undisturbed = known[case % len(known)]
        expected, duration = of_the_undisturbed()
        chance = random.Random(f"{seed}/{case}")
        moments = [chance.random() * duration for _ in range(chance.randint(1, _MAX_KILLS))]
        with tally.timed(f"kills of {recipe.name}"):
            killed += _kill_and_continue(
                tally, recipe, moments[: count - killed], expected, {"seed": seed, "first": case}
            )
    print(f"{killed} kills in {case - first} runs; the next case is {case}")


def _kill_and_continue(
    tally: Tally, recipe: Recipe, moments: list[float], expected: dict[str, str], reproduction: dict[str, int]
) -> int:
    run, what, killed = tally.out / "run", f"kills of {recipe.name}", 0
    shutil.rmtree(run, ignore_errors=True)
    for moment in moments:
        child = Child(train_command(recipe, run), tally.out)
        time.sleep(max(0.0, child.began + moment - time.monotonic()))
        child.kill()
        result = child.wait()
        if result.code not in {0, -signal.SIGKILL}:
            tally.fail(what, f"exit code {result.code} before a kill", **reproduction, moments=moments, err=result.err)
            return killed
        killed += result.code != 0
        tally.add(what, "killed" if result.code else "had ended before the kill")
    _continue_to_the_end(tally, what, recipe, expected, reproduction | {"moments": moments})
    return killed


def _continue_to_the_end(
    tally: Tally, what: str, recipe: Recipe, expected: dict[str, str], reproduction: dict[str, object]
) -> None:
    run, kept = tally.out / "run", tally.out / "as-it-was-killed"
    if run.exists():
        replace_folder(run, kept)
    result = Child(train_command(recipe, run), tally.out).wait()
    different = differences(outcome(run), expected) if result.code == 0 else []
    if result.code == 0 and not different:
        tally.add(what, "continued to the same bits")
        return
    evidence = tally.out / "failures" / f"{len(list((tally.out / 'failures').glob('*')))}"
    evidence.parent.mkdir(exist_ok=True)
    if kept.exists():
        shutil.copytree(kept, evidence)
    ending = f"continued to other bits: {', '.join(different)}" if different else f"exit code {result.code}"
    tally.fail(what, ending, **reproduction, err=result.err, folder=str(evidence))


def at_event(number: int, folder: Path, act: Callable[[int, str], None]) -> None:
    """Call `act(n, event)` before each thing that this process does to a file in a folder, from the `number`-th on."""
    inside, seen, synced = str(folder), 0, os.fsync

    def happened(event: str) -> None:
        nonlocal seen
        seen += 1
        if seen > number:
            act(seen, event)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in _FILE_EVENTS and any(str(part).startswith(inside) for part in arguments[:2]):
            mode = f" {arguments[1]}" if event == "open" else ""
            happened(event + mode)

    def fsync(descriptor: int) -> None:
        happened("os.fsync")
        synced(descriptor)

    sys.addaudithook(audit)
    os.fsync = fsync


def moments(tally: Tally, *, count: int, seed: int, first: int = 0, steps: int = 7) -> None:
    """Kill a short run just before the n-th thing that it does to a file, for every n from `first` on.

    Args:
        tally: of the campaign.
        count: of moments at most; there are no more than the run has.
        seed: not used: nothing is drawn.
        first: the first n.
        steps: of the run.
    """
    prepare_process(tally.out, draw=False)
    run = tally.out / "run"
    known = [(recipe, *undisturbed(recipe, run)) for recipe in recipes(tally.out, steps=steps)[:2]]
    what = "kills before a file event"
    for number in tally.cases(first, count):
        recipe, expected, _ = known[number % 2]
        with tally.timed(what):
            shutil.rmtree(run, ignore_errors=True)
            prepare = partial(at_event, number, run, lambda _n, _event: os.kill(os.getpid(), signal.SIGKILL))
            result = Child(train_command(recipe, run), tally.out, prepare).wait()
            if result.code == 0:
                break  # it has fewer events than that
            tally.add(what, "killed")
            _continue_twice(tally, what, recipe, expected, number)
    print(f"a run has {number} file events")


def _continue_twice(tally: Tally, what: str, recipe: Recipe, expected: dict[str, str], number: int) -> None:
    """The second time it is killed soon again, which is where what a first kill left is cleared away."""
    run = tally.out / "run"
    if number % 3 == 0:
        again = partial(at_event, number % 30, run, lambda _n, _event: os.kill(os.getpid(), signal.SIGKILL))
        result = Child(train_command(recipe, run), tally.out, again).wait()
        tally.add(what, "killed once more" if result.code else "had ended before the second kill")
    _continue_to_the_end(tally, what, recipe, expected, {"first": number, "events": number})
