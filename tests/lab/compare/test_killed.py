"""A comparison that is stopped at any moment, and gone on with, gives the files of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo.cli.main import run

from .samples import COPY, MQAR

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_this_process")]

FLAGS = ["--data", MQAR, "--data", COPY, "--dim", "16", "--layers", "1", "--jobs", "2", "--seeds", "2"]
FLAGS += ["--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]
SWEEP = ["dot-product", "correlation + involution", *FLAGS, "--lrs", "1e-3,1e-2", "--budget", "steps:24"]
LONG = ["dot-product", *FLAGS[2:], "--budget", "steps:300", "--set", "stop_accuracy=none"]
LONG += ["--set", "checkpoint_every=50"]


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
        tasks = Path(f"/proc/{self.id}/task").glob("*/children")  # a thread of the leader starts each
        children = [child for task in tasks for child in task.read_text().split()]
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
    """Undisturbed, without processes that take seconds to begin; the exit code."""
    return run(["compare", *map(str, arguments)])


def saved(path):
    return {name: (path / name).read_bytes() for name in ("results.json", "results.csv")}


def ended(path, pattern="*"):
    return len(list(path.glob(f"runs/*/{pattern}/summary.json")))


def reached(path, step):
    """Whether a run has saved so many steps."""
    return any(int(found.name[5:]) >= step for found in path.glob("runs/*/*/checkpoints/step-*[0-9]"))


def signal_each(processes, number):
    for process in processes:
        os.kill(process, number)


def undisturbed(arguments, out):
    """The files of the same comparison that nobody disturbs."""
    assert compare(*arguments, "--out", out) == 0
    return saved(out)


def interrupt(process):
    """Ctrl-C, as a terminal sends it to all processes."""
    process.signal_all(signal.SIGINT)
    code, _, err = process.end()
    assert (code, "Traceback" in err) == (130, False)
    return err


def test_ctrl_c_at_any_moment(tmp_path, capsys):
    """While the processes import torch, and during the sweep."""
    out = tmp_path / "out"
    process = Process(*SWEEP, "--out", out)
    process.wait_for(process.workers)
    time.sleep(0.2)
    interrupt(process)
    process = Process(*SWEEP, "--out", out)
    process.wait_for(lambda: ended(out, "sweep*") >= 1)
    err = interrupt(process)
    assert f"stopped, every run saved; resume with: zoo compare --resume {out}" in err
    assert ended(out, "run-*") == 0
    assert (out / "report.html").exists()
    assert compare(*SWEEP, "--out", out) == 0
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert "seeds" in told.out
    assert saved(out) == undisturbed(SWEEP, tmp_path / "whole")


def test_processes_that_are_killed_and_runs_that_cannot_be_saved(tmp_path, capsys):
    """A worker is killed, then the workers stand still so that no run can be saved, then the leader is killed."""
    out = tmp_path / "out"
    process = Process(*LONG, "--out", out)
    process.wait_for(lambda: reached(out, 50))
    os.kill(process.workers()[0], signal.SIGKILL)
    process.wait_for(lambda: reached(out, 100))
    signal_each(process.workers(), signal.SIGSTOP)
    process.signal_all(signal.SIGINT)
    time.sleep(1.0)
    process.signal_all(signal.SIGINT)
    code, _, err = process.end()
    assert (code, "Traceback" in err) == (130, False)
    assert err.splitlines()[-1] == "interrupted"
    assert "note: a run was lost and is resumed: a process that made runs was ended from outside (exit code -9)" in err
    assert ended(out) == 0

    process = Process("--resume", out)
    process.wait_for(lambda: reached(out, 200))
    workers = process.workers()
    signal_each(workers, signal.SIGSTOP)  # so that they do not end meanwhile
    assert compare("--resume", out) == 2
    assert "another process is at work" in capsys.readouterr().err
    signal_each(workers, signal.SIGCONT)
    os.kill(process.id, signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    until = time.monotonic() + 5
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until, "a worker outlives the leader"
        time.sleep(0.01)
    assert compare("--resume", out) == 0
    assert saved(out) == undisturbed(LONG, tmp_path / "whole")
