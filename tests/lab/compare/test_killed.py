"""A comparison that is stopped at any moment, and gone on with, gives the files of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .samples import COPY, MQAR

pytestmark = pytest.mark.slow

FOUR = ("dot-product", "correlation", "involution", "correlation + involution")
FLAGS = ["--data", MQAR, "--data", COPY, "--dim", "16", "--layers", "1", "--jobs", "2"]
FLAGS += ["--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]
GRID = [*FOUR, *FLAGS, "--seeds", "3", "--budget", "steps:40"]
SWEEP = ["dot-product", "correlation", *FLAGS, "--seeds", "2", "--lrs", "1e-3,1e-2", "--budget", "steps:40"]
LONG = ["dot-product", *FLAGS[2:], "--seeds", "2", "--budget", "steps:600", "--set", "stop_accuracy=none"]
LONG += ["--set", "checkpoint_every=100"]


class Process:
    """`zoo compare` as a user runs it, in a terminal of its own: a signal can be sent to all of it."""

    def __init__(self, *arguments: object) -> None:
        script = "import sys; from zoo.cli.main import main; sys.argv[0] = 'zoo'; main()"
        command = [sys.executable, "-c", script, "compare", *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.id = self._process.pid

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.id}/task/{self.id}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def wait_for(self, there) -> None:
        while not there():
            assert self._process.poll() is None, self._process.communicate()
            time.sleep(0.01)

    def signal_all(self, number: int) -> None:
        os.killpg(self.id, number)

    def end(self) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=120)
        return self._process.returncode, out, err


def compare(*arguments):
    return Process(*arguments).end()


def saved(path):
    return {name: (path / name).read_bytes() for name in ("results.json", "results.csv")}


def ended(path, pattern="*"):
    return len(list(path.glob(f"runs/*/{pattern}/summary.json")))


def begun(path):
    """The runs that hold a checkpoint of more than no steps."""
    return {found.parent for found in path.glob("runs/*/*/checkpoints/step-*[1-9]*")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of comparisons that nobody disturbed, by their arguments."""
    found = {}

    def make(arguments):
        if tuple(arguments) not in found:
            out = tmp_path_factory.mktemp("whole") / "out"
            assert compare(*arguments, "--out", out)[0] == 0
            found[tuple(arguments)] = saved(out)
        return found[tuple(arguments)]

    return make


@pytest.mark.parametrize("further", ["resume", "again"])
def test_ctrl_c_in_the_middle(tmp_path, whole, further):
    out = tmp_path / "out"
    process = Process(*GRID, "--out", out)
    process.wait_for(lambda: ended(out) >= 5)
    process.signal_all(signal.SIGINT)
    code, _, err = process.end()
    assert code == 130
    assert f"stopped, every run saved; resume with: zoo compare --resume {out}" in err
    assert "Traceback" not in err
    assert 5 <= ended(out) < 24
    assert (out / "report.html").exists()
    code, told, err = compare("--resume", out) if further == "resume" else compare(*GRID, "--out", out)
    assert (code, "Traceback" in err) == (0, False)
    assert "is ahead" in told
    assert saved(out) == whole(GRID)


def test_ctrl_c_during_the_sweep(tmp_path, whole):
    out = tmp_path / "out"
    process = Process(*SWEEP, "--out", out)
    process.wait_for(lambda: ended(out, "sweep*") >= 1)
    process.signal_all(signal.SIGINT)
    assert process.end()[0] == 130
    assert compare("--resume", out)[0] == 0
    assert saved(out) == whole(SWEEP)


def test_ctrl_c_while_the_processes_begin(tmp_path, whole):
    """They import torch then, and do not leave a traceback."""
    out = tmp_path / "out"
    process = Process(*SWEEP, "--out", out)
    process.wait_for(process.workers)
    time.sleep(0.2)
    process.signal_all(signal.SIGINT)
    code, _, err = process.end()
    assert (code, "Traceback" in err) == (130, False)
    assert compare(*SWEEP, "--out", out)[0] == 0
    assert saved(out) == whole(SWEEP)


def test_ctrl_c_twice_stops_at_once_and_loses_little(tmp_path, whole):
    """The processes that make the runs stand still, so that they cannot save, for which one Ctrl-C would wait."""
    out = tmp_path / "out"
    process = Process(*LONG, "--out", out)
    process.wait_for(lambda: len(begun(out)) == 2)
    for worker in process.workers():
        os.kill(worker, signal.SIGSTOP)
    process.signal_all(signal.SIGINT)
    time.sleep(1.0)
    process.signal_all(signal.SIGINT)
    code, _, err = process.end()
    assert (code, "Traceback" in err) == (130, False)
    assert err.splitlines()[-1] == "interrupted"
    assert len(begun(out)) == 2
    assert compare("--resume", out)[0] == 0
    assert saved(out) == whole(LONG)


def test_the_leader_is_killed_and_takes_the_workers_along(tmp_path, whole):
    out = tmp_path / "out"
    process = Process(*LONG, "--out", out)
    process.wait_for(lambda: list(out.glob("runs/*/*/checkpoints/step-00000200")))
    workers = process.workers()
    assert len(workers) == 2
    os.kill(process.id, signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    until = time.monotonic() + 5
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until, "a worker outlives the leader"
        time.sleep(0.01)
    assert ended(out) == 0
    assert compare("--resume", out)[0] == 0
    assert saved(out) == whole(LONG)


def test_a_worker_is_killed(tmp_path, whole):
    out = tmp_path / "out"
    process = Process(*LONG, "--out", out)
    process.wait_for(lambda: list(out.glob("runs/*/*/checkpoints/step-00000200")))
    os.kill(process.workers()[0], signal.SIGKILL)
    code, _, err = process.end()
    assert code == 1
    assert err.splitlines()[-2:] == [
        f"what was saved stands; resume with: zoo compare --resume {out}",
        "error: a process that made runs was ended from outside (exit code -9), perhaps because memory ran out: "
        "fewer --jobs need less",
    ]
    assert compare("--resume", out)[0] == 0
    assert saved(out) == whole(LONG)


def test_two_at_once(tmp_path):
    out = tmp_path / "out"
    process = Process(*LONG, "--out", out)
    process.wait_for(lambda: list(out.glob("runs/*")))
    code, _, err = compare("--resume", out)
    assert code == 2
    assert "another process is at work" in err
    process.signal_all(signal.SIGTERM)
    assert process.end()[0] == 130
