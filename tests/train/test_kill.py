"""A run that is killed at any moment, and resumed, ends bit for bit where it would have ended."""

import os
import random
import signal
import time
import traceback
from pathlib import Path

import pytest

import zoo
from zoo.train.session import resume, start


def in_child(work) -> int:
    """Run `work` in a forked process; returns its process id at once."""
    process = os.fork()
    if process:
        return process
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(process: int) -> int:
    return os.waitpid(process, 0)[1]


def outcome(path: Path) -> dict[str, bytes]:
    """What has to be the same: the final weights and optimiser, the metrics and the samples."""
    last = max((path / "checkpoints").iterdir())
    files = [last / "model.safetensors", last / "optimizer.safetensors", path / "metrics.jsonl", path / "samples.txt"]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def wait_for_the_first_checkpoint(path):
    while not (path / "checkpoints" / "step-00000000").exists():
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_ten_kills(tiny, tmp_path):
    settings = tiny(steps=60, checkpoint_every=5, evaluate_every=15)
    process = in_child(lambda: start(settings, root=tmp_path, out=tmp_path / "whole"))
    wait_for_the_first_checkpoint(tmp_path / "whole")
    began = time.monotonic()
    assert finish(process) == 0
    duration = time.monotonic() - began
    expected, chance = outcome(tmp_path / "whole"), random.Random(0)
    killed = 0
    for number in range(10):
        path = tmp_path / f"cut-{number}"
        process = in_child(lambda path=path: start(settings, root=tmp_path, out=path))
        wait_for_the_first_checkpoint(path)
        time.sleep(chance.random() * duration)
        os.kill(process, signal.SIGKILL)
        killed += os.WIFSIGNALED(finish(process))
        assert finish(in_child(lambda path=path: resume(path))) == 0
        assert outcome(path) == expected
    assert killed >= 5
    assert zoo.load_run(tmp_path / "whole").step == 60
