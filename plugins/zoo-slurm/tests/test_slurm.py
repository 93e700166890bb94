"""Jobs, as SLURM's programs have them that `fake_slurm` stands for."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from contextlib import suppress

import pytest
from zoo_slurm import FOLDER, Slurm

import zoo

COPY = "delayed-copy(length=12, vocab=4, delay=2)"
TWELVE = ["dot-product", "correlation + involution", "--data", COPY, "--dim", "16", "--layers", "1", "--seeds", "4"]
TWELVE += ["--lrs", "1e-3,1e-2", "--budget", "steps:300", "--jobs", "2", "--device", "cpu"]
TWELVE += ["--set", "checkpoint_every=20", "--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]
TWELVE += ["--set", "stop_accuracy=none"]
ELSEWHERE = [*TWELVE, "--set", "threads=1", "--on", "slurm"]


@pytest.fixture
def executor():
    made = Slurm()
    yield made
    made.terminate()


def until(there):
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def jobs(queue):
    """The jobs in the queue, and their states."""
    return {path.name: path.read_text() for path in queue.iterdir() if path.name.isdecimal()}


@pytest.mark.slow
def test_the_folder_is_gone_when_all_went_well(tmp_path, executor):
    assert executor.submit(divmod, 7, 2).result(60) == (3, 1)
    assert (tmp_path / FOLDER).exists()
    executor.shutdown()
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.slow
def test_a_job_that_is_lost_leaves_its_log(tmp_path, executor):
    error = executor.submit(os.kill, 0, signal.SIGKILL).exception(60)
    assert isinstance(error, BrokenExecutor)
    assert str(error).startswith("the SLURM job 100 ended without a result")
    executor.shutdown()
    assert list((tmp_path / FOLDER).glob("*/100_0_log.err"))


def test_a_job_that_waits_is_cancelled(queue, executor):
    (queue / "held").touch()
    future = executor.submit(divmod, 7, 2)
    assert list(jobs(queue).values()) == ["PD"]
    assert future.cancel()
    assert future.cancelled()
    assert jobs(queue) == {}


def test_terminate_cancels_all_jobs(queue, executor):
    (queue / "held").touch()
    futures = [executor.submit(time.sleep, 60) for _ in range(2)]
    executor.terminate()
    assert jobs(queue) == {}
    assert all(isinstance(future.exception(1), BrokenExecutor) for future in futures)


def test_what_is_asked_of_slurm(queue):
    (queue / "held").touch()
    executor = Slurm(partition="gpu", time=30, cpus=4, gpus=1, memory="8GB", account="lab")
    executor.submit(divmod, 7, 2)
    lines = (queue / "100.sh").read_text().splitlines()
    executor.terminate()
    asked = "partition=gpu", "time=30", "cpus-per-task=4", "gpus-per-node=1", "mem=8GB", "account=lab", "no-requeue"
    assert [option for option in asked if f"#SBATCH --{option}" not in lines] == []
    assert "export OMP_NUM_THREADS=4" in lines


def test_what_slurm_says_of_a_job_that_it_does_not_take(queue, executor):
    (queue / "refused").touch()
    with pytest.raises(zoo.UsageError, match=r"^SLURM does not take a job: sbatch: error: invalid partition"):
        executor.submit(divmod, 7, 2)


def busy(queue, times):
    (queue / "busy").mkdir(exist_ok=True)
    for number in range(times):
        (queue / "busy" / str(number)).touch()


def test_a_busy_controller_is_asked_again(queue, executor):
    busy(queue, 3)
    assert executor.submit(divmod, 7, 2).job == "100"
    busy(queue, 4)
    with pytest.raises(zoo.UsageError, match=r"^SLURM does not take a job: sbatch: error: .*Socket timed out"):
        executor.submit(divmod, 7, 2)


def test_a_machine_without_slurm(monkeypatch, executor):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(zoo.UsageError, match=r"^sbatch is not installed here: compare on a machine from which"):
        executor.submit(divmod, 7, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": 0}, "time=0 should be 1 or more"),
        ({"gpus": -1}, "gpus=-1 should be 0 or more"),
        ({"memory": "much"}, "memory='much' should be an amount like 8GB"),
        ({"partition": "a b"}, "partition='a b' should be the name of a partition"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Slurm(**options)


def compare(*arguments):
    """``zoo compare`` as a user runs it, in a terminal of its own: a signal can be sent to all of it."""
    zoo = [sys.executable, "-c", "import sys; from zoo.cli.main import main; sys.argv[0] = 'zoo'; main()"]
    return subprocess.Popen(
        [*zoo, "compare", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def end(process):
    _, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return process.returncode, err


def figures(folder):
    """The results but for the command, which says what made them."""
    return {
        name: value for name, value in json.loads((folder / "results.json").read_text()).items() if name != "command"
    }


def workers(folder):
    """The processes that make runs."""
    found = []
    for claim in folder.glob("runs/*/.*.claim"):
        with suppress(OSError, ValueError, IndexError):
            found.append(json.loads(claim.read_text())["process"][-2])
    return found


@pytest.mark.slow
def test_twelve_runs_of_which_one_is_killed_and_the_rest_resumed_elsewhere(tmp_path, queue):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    assert end(compare(*TWELVE, "--out", undisturbed))[0] == 0
    process = compare(*ELSEWHERE, "--out", out)
    until(lambda: len(list(out.glob("runs/*/*/checkpoints/step-*[0-9]"))) > 3 and workers(out))
    os.kill(workers(out)[0], signal.SIGKILL)
    until(lambda: len(list(out.glob("runs/*/*/summary.json"))) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    code, err = end(process)
    assert (code, "stopped, every run saved" in err, jobs(queue)) == (130, True, {})
    code, _ = end(compare("--resume", out, "--on", "processes"))
    assert code == 0
    assert figures(out) == figures(undisturbed)
