"""Training says when other processes slow it down, and its threads make way for them."""

import os
import subprocess
import sys
import time

import pytest

from zoo.cli.threads import choose_waiting, count_others
from zoo.train import contention
from zoo.train.contention import Contention, read_times, waiting_fraction

LINUX = pytest.mark.skipif(read_times() is None, reason="the system does not tell how long threads wait")


def test_threads_sleep_on_a_busy_machine_unless_the_user_has_chosen(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for others, policy in (
        (0, {}),
        (1.5, {}),
        (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (9, {"OMP_WAIT_POLICY": "PASSIVE"}),
    ):
        environ = {}
        choose_waiting(environ, others=others)
        assert environ == policy
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        environ = {name: "whatever"}
        choose_waiting(environ, others=9)
        assert environ == {name: "whatever"}


def test_others_are_counted_without_this_process(tmp_path):
    (tmp_path / "loadavg").write_text("0.50 0.40 0.30 4/151 1234\n")
    assert count_others(tmp_path / "loadavg") == 3
    (tmp_path / "loadavg").write_text("what?")
    assert count_others(tmp_path / "loadavg") == count_others(tmp_path / "none") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("command", "policy"), [("generate", "PASSIVE"), ("list", "None")])
def test_the_command_line_decides_before_torch_is_imported(command, policy):
    code = (
        f"import os, sys; from zoo.cli import main; sys.argv = ['zoo', {command!r}, '--help']\n"
        "main.count_others = lambda: 99\n"
        "try: main.main()\nexcept SystemExit: print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP", "KMP"))}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{policy} False"


def test_the_fraction_of_the_time_in_which_threads_waited():
    assert waiting_fraction((100, 50), (400, 150)) == 0.25
    assert waiting_fraction((100, 50), (400, 50)) == 0
    assert waiting_fraction((400, 50), (100, 10)) == 0  # threads have ended, and took their times with them


@pytest.fixture
def times(monkeypatch):
    """Made-up readings, and a clock; both are set by hand."""
    made = {"now": 0.0, "read": (0, 0)}
    monkeypatch.setattr(contention.time, "monotonic", lambda: made["now"])
    monkeypatch.setattr(contention, "read_times", lambda: made["read"])
    return made


def test_it_is_told_once_and_after_some_seconds_of_it(times):
    watch = Contention()
    times.update(now=4.0, read=(2 * 10**9, 2 * 10**9))
    assert watch.notice() is None
    times.update(now=6.0, read=(3 * 10**9, 3 * 10**9))
    assert watch.notice() == (
        "other processes are using the processors: training waits for one 50% of its time; close them, or start it "
        "with OMP_WAIT_POLICY=PASSIVE"
    )
    times.update(now=60.0, read=(4 * 10**9, 40 * 10**9))
    assert watch.notice() is None


def test_a_quiet_machine_and_a_system_that_does_not_tell(times):
    watch = Contention()
    times.update(now=6.0, read=(10**10, 10**9))
    assert watch.notice() is None
    times.update(now=12.0, read=(2 * 10**10, 10**10))  # the window begins anew: it is busy now
    assert watch.notice() is not None
    times.update(now=0.0, read=None)
    watch = Contention()
    times["now"] = 60.0
    assert watch.notice() is None


@LINUX
@pytest.mark.slow
def test_a_busy_machine_is_seen():
    count = 3 * (os.cpu_count() or 1)
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        start, end = read_times(), time.monotonic() + 2
        while time.monotonic() < end:
            pass
        assert waiting_fraction(start, read_times()) > 0.2
    finally:
        for other in others:
            other.kill()
            other.wait()
