"""A comparison on Ray gives what it gives in processes of this machine, to the last digit, whatever is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
from zoo_ray import Ray

COPY = "delayed-copy(length=12, vocab=4, delay=2)"
TWELVE = ["dot-product", "correlation + involution", "--data", COPY, "--dim", "16", "--layers", "1", "--seeds", "4"]
TWELVE += ["--lrs", "1e-3,1e-2", "--budget", "steps:300", "--jobs", "2", "--device", "cpu"]
TWELVE += ["--set", "checkpoint_every=20", "--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]
TWELVE += ["--set", "stop_accuracy=none"]
ELSEWHERE = [*TWELVE, "--set", "threads=1"]


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
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def wait_for(self, there):
        until = time.monotonic() + 120
        while not (found := there()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        return found

    def interrupt(self):
        """Ctrl-C, as a terminal sends it to all processes; what was said."""
        os.killpg(self.process.pid, signal.SIGINT)
        code, _, err = self.end()
        assert code == 130, err
        return err

    def end(self):
        out, err = self.process.communicate(timeout=240)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


def figures(folder):
    """The results but for the command, which says what made them."""
    return {
        name: value for name, value in json.loads((folder / "results.json").read_text()).items() if name != "command"
    }


def ended(folder):
    return len(list(folder.glob("runs/*/*/summary.json")))


def checkpoints(folder):
    return len(list(folder.glob("runs/*/*/checkpoints/step-*[0-9]")))


def workers(folder):
    """The processes that make runs."""
    found = set()
    for claim in folder.glob("runs/*/.*.claim"):
        with suppress(OSError, ValueError, IndexError):
            found.add(json.loads(claim.read_text())["process"][-2])
    return found


@contextmanager
def cluster(nodes):
    """A head that makes one run at a time, and further nodes likewise; these."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    try:
        yield made, [made.add_node(**size) for _ in range(nodes)]
    finally:
        made.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("processes") / "out"
    assert Compare(*TWELVE, "--out", out).end()[0] == 0
    return figures(out)


@pytest.mark.slow
def test_a_node_and_a_worker_are_lost(tmp_path, undisturbed):
    out = tmp_path / "out"
    with cluster(2) as (made, nodes):
        compare = Compare(*ELSEWHERE, "--jobs", "3", "--out", out, "--on", f"ray:{made.address}")
        compare.wait_for(lambda: checkpoints(out) > 6 and len(workers(out)) == 3)
        os.kill(compare.wait_for(lambda: workers(out)).pop(), signal.SIGKILL)
        compare.wait_for(lambda: ended(out) >= 3 and len(workers(out)) == 3)
        made.remove_node(nodes[1], allow_graceful=False)
        code, said, err = compare.end()
    assert code == 0
    assert "(raylet)" not in said
    assert "a run was lost and is resumed: a Ray worker has died" in err
    assert ended(out) == 12
    assert figures(out) == undisturbed


@pytest.mark.slow
def test_stopped_and_resumed_on_another_executor(tmp_path, undisturbed):
    out = tmp_path / "out"
    compare = Compare(*TWELVE, "--out", out, "--on", "ray")
    compare.wait_for(lambda: ended(out) >= 2)
    assert "stopped, every run saved" in compare.interrupt()
    assert ended(out) < 12
    assert Compare("--resume", out, "--on", "processes").end()[0] == 0
    assert figures(out) == undisturbed


@pytest.mark.slow
def test_no_cluster_at_the_address(tmp_path):
    code, _, err = Compare(*ELSEWHERE, "--out", tmp_path / "out", "--on", "ray:127.0.0.1:9").end()
    assert code == 2
    assert "error: no Ray cluster can be joined at 127.0.0.1:9" in err
    assert "start one with `ray start`" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "here"}, "address='here' should read auto, HOST:PORT or ray://HOST:PORT"),
        ({"cpus": -1}, "cpus=-1 should be a fraction of 1, or a whole number up to 1024"),
        ({"gpus": 1.5}, "gpus=1.5 should be a fraction of 1, or a whole number up to 1024"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Ray(**options)
