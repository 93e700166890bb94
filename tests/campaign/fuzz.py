"""Inputs of all kinds: each is accepted, or refused in a line; nothing else is raised, run, or written elsewhere."""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from zoo.errors import PatternError, ZooError

from .mutate import mutated, mutated_json
from .runs import Child, prepare_process, recipes, train_command
from .tally import BAD, Tally
from .targets import Target, targets

SECONDS = 5
"""An input that takes longer is a bad case."""

_MEMORY = 1 << 30
"""So is one that takes more than so many bytes."""

_SHOWN = 3
"""Bad cases that are printed of each ending."""

_PROGRAMS = {"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn", "os.fork", "socket.connect"}


class _TooLongError(BaseException):
    """An input took more than its time."""


def fuzz(tally: Tally, *, count: int, seed: int, first: int = 0) -> None:
    """Feed all readers with changed inputs.

    Args:
        tally: of the campaign.
        count: of inputs, over all readers.
        seed: of the changes.
        first: the number of the first input of each reader.
    """
    prepare_process(tally.out, draw=False)
    every = targets(tally.out, ended_run(tally.out))
    whole = sum(target.share for target in every.values())
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _MEMORY, resource.RLIM_INFINITY))
    set_hypothesis_home_dir(tally.out / "hypothesis")
    with guarded(tally):
        for name, target in every.items():
            number = max(1, int(count * target.share / whole))
            with tally.timed(name):
                _feed(tally, name, target, range(first, first + number), seed)
                if not target.words:
                    _feed_drawn(tally, name, target, max(10, number // 100), seed + first)
            print(f"{name}: {tally.counts[name].total() / tally.seconds[name]:,.0f} inputs/s", flush=True)


def ended_run(out: Path) -> Path:
    """The folder of a run that has ended and been inspected."""
    run = out / "ended"
    shutil.rmtree(run, ignore_errors=True)
    commands = [
        train_command(recipes(out, steps=7)[0], run),
        ["inspect", str(run), "--tokens", "64", "--device", "cpu"],
    ]
    for command in commands:
        assert (result := Child(command, out).wait()).code == 0, result.err
    return run


def _feed(tally: Tally, name: str, target: Target, numbers: range, seed: int) -> None:
    """Each input has its own chance, so that any of them can be made again alone."""
    words = [word.encode() for word in target.words]
    valid = [text.encode() for text in target.valid] if words else list(target.valid)
    pool = list(valid)
    for number in numbers:
        chance = random.Random(seed << 40 | number)
        if words:
            changed = mutated(chance.choice(valid), pool, words, chance)
            check(tally, name, target, changed.decode("utf-8", "surrogateescape"), {"seed": seed, "first": number})
        else:
            check(tally, name, target, mutated_json(chance.choice(valid), chance), {"seed": seed, "first": number})


def _feed_drawn(tally: Tally, name: str, target: Target, count: int, chosen: int) -> None:
    """Values of JSON's types that have nothing to do with the valid ones but their names."""
    names = st.sampled_from(_names_in(target.valid)) | st.text(max_size=5)
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6))
    tables = st.dictionaries(names, values, max_size=8)

    @seed(chosen)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(tables)
    def feed(value: Any) -> None:
        check(tally, name, target, value, {"drawn with": chosen})

    feed()


def _names_in(values: Any) -> list[str]:
    if isinstance(values, dict):
        return [*values, *(name for value in values.values() for name in _names_in(value))]
    return [name for value in values for name in _names_in(value)] if isinstance(values, list) else []


def check(tally: Tally, name: str, target: Target, given_input: Any, reproduction: dict[str, object]) -> None:
    """Count one input by what becomes of it."""
    caught: BaseException | None = None
    try:
        with limited(SECONDS):
            target.read(given_input)
    except ZooError as error:
        caught = error
        text = str(error)
        one_line = "\n" not in text or isinstance(error, PatternError)  # that shows the place in a line of its own
        ending = "refused in a line" if one_line else f"{BAD}: refused in several lines"
    except target.documented:
        ending = "refused as documented"
    except (Exception, _TooLongError, SystemExit) as error:
        caught = error
        ending = f"{BAD}: {type(error).__name__} in {_place(error)}"
    else:
        ending = "accepted"
    if not ending.startswith(BAD) or tally.counts.get(name, Counter())[ending] >= _SHOWN:
        tally.add(name, ending)
        return
    shown = given_input if isinstance(given_input, str) else json.dumps(given_input)
    tally.fail(name, ending.removeprefix(f"{BAD}: "), **reproduction, error=repr(caught)[:200], input=shown[:3000])


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/zoo/" in frame.filename]
    return f"{Path(frames[-1].filename).name}, {frames[-1].name}" if frames else "?"


def _address_space() -> int:
    """The bytes of it that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise where the block takes longer, in seconds of the processor: a machine that others use is not to blame."""

    def ring(_signal: int, _frame: object) -> None:
        raise _TooLongError

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def guarded(tally: Tally) -> Iterator[None]:
    """Notice a program that is started, and a file that is changed outside of the campaign's folder."""
    outside = tally.out.parent / f"{tally.out.name}-outside"
    outside.mkdir(exist_ok=True)
    canary = outside / "canary.txt"
    canary.write_text("alive\n")
    before, on, seen = canary.stat(), True, set[str]()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if not on or (event not in _PROGRAMS and event not in {"open", "os.rename", "os.remove", "os.mkdir"}):
            return
        writes = event != "open" or (isinstance(arguments[1], str) and set(arguments[1]) & set("wa+x"))
        place = os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else str(tally.out)
        if event in _PROGRAMS or (writes and not place.startswith(str(tally.out)) and place[:5] != "/dev/"):
            seen.add(f"{event} {place}")

    sys.addaudithook(audit)
    began = time.time()
    yield
    on = False
    changed = [path.name for path in outside.iterdir() if path != canary]
    if canary.read_text() != "alive\n" or canary.stat().st_mtime_ns != before.st_mtime_ns or changed:
        tally.fail("outside", "a file outside of the folder was changed", changed=changed, since=began)
    for text in sorted(seen):
        tally.fail("outside", f"happened: {text}")
    tally.add("outside", "the canary lives")
