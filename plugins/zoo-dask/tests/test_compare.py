"""A comparison on Dask gives what it gives in processes of this machine, to the last digit, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COPY = "delayed-copy(length=12, vocab=4, delay=2)"
TWELVE = ["dot-product", "correlation + involution", "--data", COPY, "--dim", "16", "--layers", "1", "--seeds", "4"]
TWELVE += ["--lrs", "1e-3,1e-2", "--budget", "steps:120", "--jobs", "2", "--device", "cpu"]
TWELVE += ["--set", "checkpoint_every=10", "--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]
TWELVE += ["--set", "stop_accuracy=none"]


class Compare:
    """``zoo compare`` as a user runs it, in a terminal of its own: a signal can be sent to all of it."""

    def __init__(self, *arguments):
        zoo = [sys.executable, "-c", "import sys; from zoo.cli.main import main; sys.argv[0] = 'zoo'; main()"]
        self.process = subprocess.Popen(
            [*zoo, "compare", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, there):
        while not there():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def workers(self):
        """The processes of the cluster that it has started."""
        lists = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [child for children in lists for child in children.read_text().split()]
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def end(self):
        out, err = self.process.communicate(timeout=300)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


def figures(folder):
    """The results but for the command, which says what made them."""
    return {
        name: value for name, value in json.loads((folder / "results.json").read_text()).items() if name != "command"
    }


def steps(folder):
    return [int(path.name[5:]) for path in folder.glob("runs/*/*/checkpoints/step-*[0-9]")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("processes") / "out"
    assert Compare(*TWELVE, "--out", out).end()[0] == 0
    return figures(out)


@pytest.mark.slow
def test_two_workers_are_killed(tmp_path, undisturbed):
    out, killed = tmp_path / "out", []
    made = Compare(*TWELVE, "--out", out, "--on", "dask")
    for least in (1, 4):
        made.wait_for(lambda least=least: len(list(out.glob("runs/*/*/checkpoints/step-*[0-9]"))) > least)
        made.wait_for(lambda: set(made.workers()) - set(killed))
        killed.append(next(process for process in made.workers() if process not in killed))
        os.kill(killed[-1], signal.SIGKILL)
    code, _, err = made.end()
    assert code == 0
    assert err.count("a run was lost and is resumed: the Dask worker") >= 1
    assert len(list(out.glob("runs/*/*/summary.json"))) == 12
    assert figures(out) == undisturbed


@pytest.mark.slow
def test_stopped_and_resumed_on_the_same_and_on_another_executor(tmp_path, undisturbed):
    out = tmp_path / "out"
    made = Compare(*TWELVE, "--out", out, "--on", "dask")
    made.wait_for(lambda: len(list(out.glob("runs/*/*/summary.json"))) >= 2)
    os.killpg(made.process.pid, signal.SIGINT)
    code, _, err = made.end()
    assert (code, "stopped, every run saved" in err) == (130, True)
    made = Compare("--resume", out)
    made.wait_for(lambda: len(list(out.glob("runs/*/*/summary.json"))) >= 6)
    os.killpg(made.process.pid, signal.SIGINT)
    assert made.end()[0] == 130
    assert Compare("--resume", out, "--on", "processes").end()[0] == 0
    assert figures(out) == undisturbed


@pytest.mark.slow
def test_a_cluster_with_an_address(tmp_path, undisturbed):
    """A scheduler and two workers that were started by hand, of which one is killed and not replaced."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster:
        out = tmp_path / "out"
        made = Compare(*TWELVE, "--set", "threads=1", "--out", out, "--on", f"dask:{cluster.scheduler_address}")
        made.wait_for(lambda: len(list(out.glob("runs/*/*/summary.json"))) >= 1)
        next(iter(cluster.workers.values())).process.process.kill()
        code, _, _ = made.end()
        assert code == 0
    changed = figures(out)
    assert changed["data"] == undisturbed["data"]


def test_no_scheduler_at_the_address(tmp_path):
    code, _, err = Compare(*TWELVE, "--out", tmp_path / "out", "--on", "dask:tcp://127.0.0.1:9").end()
    assert code == 2
    assert "error: no Dask scheduler answers at tcp://127.0.0.1:9" in err
    assert "start one with `dask scheduler`" in err
