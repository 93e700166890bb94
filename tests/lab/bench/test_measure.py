import gc
import weakref

import pytest
import torch

from zoo.lab.bench import measure
from zoo.lab.bench.measure import Timing, rotated, time_in_turn

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the calls move: each adds the seconds that it takes."""

    class Clock:
        def __init__(self):
            self.now, self.log = 0.0, []

        def taking(self, name, seconds):
            def call():
                self.now += seconds
                return name

            return call

    clock = Clock()

    def elapsed(call, calls, device):
        began = clock.now
        for _ in range(calls):
            name = call()
        clock.log.append((name, calls))
        return clock.now - began

    monkeypatch.setattr(measure, "elapsed", elapsed)
    monkeypatch.setattr(measure, "MIN_SECONDS", 0.02)
    monkeypatch.setattr(measure, "_WARM_SECONDS", 0.0)
    return clock


def run(work, repeats=5):
    timings = {}
    time_in_turn({8: work}, timings, repeats=repeats, device=CPU, announce=lambda length, name: None)
    return {name: timing for (_, name), timing in timings.items()}


@pytest.mark.slow
def test_rounds_rotate_and_take_everyone_once(clock):
    run({name: clock.taking(name, 0.5) for name in "abc"}, repeats=4)
    names = "".join(name for name, _ in clock.log)
    assert names == "aabbcc" + "abc" + "bca" + "cab" + "abc"


@pytest.mark.slow
def test_a_round_takes_every_length(clock):
    work = {length: {name: clock.taking(f"{name}{length}", 0.5) for name in "ab"} for length in (1, 2)}
    told = []
    time_in_turn(work, {}, repeats=2, device=CPU, announce=lambda length, name: told.append(f"{name}{length}"))
    assert told == ["a1", "b1", "a2", "b2", "a1", "b1", "a2", "b2", "b1", "a1", "b2", "a2"]


@pytest.mark.slow
def test_what_is_quick_is_called_several_times_in_a_repeat(clock):
    timing = run({"a": clock.taking("a", 0.003)})["a"]
    assert timing.calls == 7  # 0.021 s
    assert timing.seconds == pytest.approx([0.003] * 5)


@pytest.mark.slow
def test_a_call_that_was_held_up_in_the_warm_up_decides_nothing(clock):
    seconds = iter([0.003, 0.9])

    def call():
        return clock.taking("a", next(seconds, 0.003))()

    timing = run({"a": call})["a"]
    assert (timing.estimate, timing.calls) == (pytest.approx(0.003), 7)


@pytest.mark.slow
def test_what_is_slow_is_repeated_three_times_and_warmed_up_once(clock):
    timings = run({"slow": clock.taking("slow", 4.0), "quick": clock.taking("quick", 1.0)})
    assert (timings["slow"].repeats, len(timings["slow"].seconds)) == (3, 3)
    assert len(timings["quick"].seconds) == 5
    assert [name for name, _ in clock.log].count("slow") == 4


@pytest.mark.slow
def test_what_is_slow_is_not_repeated_more_often_than_asked(clock):
    assert len(run({"slow": clock.taking("slow", 4.0)}, repeats=2)["slow"].seconds) == 2


@pytest.mark.slow
def test_one_that_fails_does_not_stop_the_others(clock):
    calls = []

    def fails_later():
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("worn out")
        return clock.taking("later", 0.5)()

    def fails():
        raise ValueError("at once")

    timings = run({"fails": fails, "later": fails_later, "sound": clock.taking("sound", 0.5)})
    assert isinstance(timings["fails"].error, ValueError)
    assert isinstance(timings["later"].error, RuntimeError)
    assert len(calls) == 4
    assert timings["sound"] == Timing(0.5, 1, 5, [0.5] * 5)


@pytest.mark.slow
def test_garbage_is_collected_before_and_not_while(clock):
    class Circular:
        def __init__(self):
            self.itself = self

    garbage, seen = weakref.ref(Circular()), []
    run({"a": lambda: seen.append((gc.isenabled(), garbage())) or clock.taking("a", 0.5)()})
    assert set(seen) == {(False, None)}
    assert gc.isenabled()


@pytest.mark.slow
def test_what_was_timed_is_there_when_somebody_stops_it(clock):
    timings, turns = {}, []

    def told(length, name):
        turns.append(name)
        if len(turns) == 6:
            raise KeyboardInterrupt

    work = {8: {name: clock.taking(name, 0.5) for name in "ab"}}
    with pytest.raises(KeyboardInterrupt):
        time_in_turn(work, timings, repeats=5, device=CPU, announce=told)
    assert {name: len(timing.seconds) for (_, name), timing in timings.items()} == {"a": 1, "b": 2}
    assert gc.isenabled()


def test_rotated():
    assert [rotated(["a", "b", "c"], turn) for turn in (0, 1, 5)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]
    assert rotated([], 3) == []
