"""What is listed of a run is what its files say, whatever became of it."""

import json
import math
import os
import subprocess
import sys
import time

import pytest

from zoo.files.atomic import locked
from zoo.train.listing import comparison_of, find_runs, is_run, is_running, list_run
from zoo.train.manifest import write_sealed

CONFIG = {"mixer": "dot-product*2", "dim": 16, "context": 16, "data": "a.txt", "steps": 30}
SUMMARY = {"steps": 30, "validation_loss": 1.5, "validation_accuracy": 0.25, "seconds": 12.5}


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def made(folder, *events, summary=None, host="elsewhere", rows=2):
    folder.mkdir(parents=True)
    write_sealed(folder, "config.json", json.dumps(CONFIG))
    if summary is not None:
        write_sealed(folder, "summary.json", json.dumps(summary))
    first = {"time": "2025-01-31T12:00:00Z", "event": "started", "step": 0, "host": host}
    lines(folder / "events.jsonl", first, *({"time": "2025-01-31T12:01:00Z"} | event for event in events))
    logged = [{"step": 10 * (i + 1), "train_loss": 3.0} for i in range(rows)]
    if rows:
        logged[0] |= {"validation_loss": 2.5, "validation_accuracy": 0.125}
    lines(folder / "metrics.jsonl", *logged)
    lines(folder / "timings.jsonl", *({"step": row["step"], "seconds": row["step"] / 2} for row in logged))
    (folder / ".lock").touch()
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    return folder


def test_a_finished_run(tmp_path):
    listed = list_run(made(tmp_path / "run", {"event": "finished", "step": 30}, summary=SUMMARY))
    assert (listed.name, listed.mixer, listed.data, listed.state) == ("run", "dot-product*2", "a.txt", "finished")
    assert (listed.step, listed.steps, listed.loss, listed.accuracy, listed.seconds) == (30, 30, 1.5, 0.25, 12.5)
    assert (listed.started, listed.problem) == ("2025-01-31T12:00:00Z", "")


def test_a_run_that_has_not_ended(tmp_path):
    listed = list_run(made(tmp_path / "run", {"event": "interrupted", "step": 24}))
    assert (listed.state, listed.step, listed.loss, listed.accuracy, listed.seconds) == (
        "interrupted",
        24,
        2.5,
        0.125,
        10,
    )
    fresh = list_run(made(tmp_path / "fresh", rows=0))
    assert (fresh.step, fresh.state) == (0, "interrupted")
    assert math.isnan(fresh.loss)


@pytest.mark.parametrize(
    ("events", "summary", "state"),
    [
        ([], None, "interrupted"),
        ([{"event": "finished"}], None, "interrupted"),  # it was killed before its summary
        ([{"event": "finished"}, {"event": "resumed"}], SUMMARY, "interrupted"),
        ([{"event": "finished"}, {"event": "resumed"}, {"event": "finished"}], SUMMARY, "finished"),
        ([{"event": "finished"}, {"event": "plugin changed"}], SUMMARY, "finished"),
        ([{"event": "not finite"}], None, "failed"),
        ([{"event": "saved", "step": 3}], None, "saved"),
    ],
)
def test_the_last_event_says_how_it_stands(tmp_path, events, summary, state):
    assert list_run(made(tmp_path / "run", *events, summary=summary)).state == state


def test_a_run_whose_lock_is_held_is_running_and_the_look_takes_no_lock(tmp_path):
    run = made(tmp_path / "run")
    with locked(run):
        assert (list_run(run).state, is_running(run)) == ("running", True)
    assert (list_run(run).state, is_running(run)) == ("interrupted", False)
    with locked(run):
        pass


def test_a_run_of_another_machine_is_running_as_long_as_it_logs(tmp_path):
    run = made(tmp_path / "run")
    os.utime(run / "metrics.jsonl", (time.time() - 60,) * 2)
    assert list_run(run).state == "running"
    os.utime(run / "metrics.jsonl", (time.time() - 3600,) * 2)
    assert list_run(run).state == "interrupted"


@pytest.mark.parametrize("name", ["config.json", "summary.json", "manifest.json"])
def test_damage_is_listed(tmp_path, name):
    run = made(tmp_path / "run", {"event": "finished"}, summary=SUMMARY)
    (run / name).write_bytes((run / name).read_bytes().replace(b"3", b"4", 1))
    listed = list_run(run)
    assert listed.state == "damaged"
    assert f"{name} is damaged" in listed.problem
    (run / "config.json").write_text("{")
    assert is_run(run)
    assert list_run(run).state == "damaged"


def test_broken_logs_cost_their_figures_only(tmp_path):
    run = made(tmp_path / "run", {"event": "interrupted", "step": 20})
    with (run / "metrics.jsonl").open("a") as log:
        log.write('nonsense\n[1]\n{"step": 30, "train_')
    assert list_run(run).step == 20
    for name in ("metrics.jsonl", "timings.jsonl", "events.jsonl"):
        (run / name).write_bytes(b"\xff\xfe\n")
    assert list_run(run).state == "interrupted"


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    run = made(tmp_path / "run", rows=0)
    lines(run / "metrics.jsonl", *({"step": step, "validation_loss": float(step)} for step in range(5000)))
    first, rest = (run / "metrics.jsonl").read_text().split("\n", 1)
    (run / "metrics.jsonl").write_text(first.replace("}", ', "validation_accuracy": 0.5}\n') + rest)
    assert (list_run(run).step, list_run(run).loss) == (4999, 4999.0)
    assert math.isnan(list_run(run).accuracy)


def test_runs_are_found_in_folders_and_in_comparisons(tmp_path):
    for name in ("b", "a", ".hidden"):
        made(tmp_path / "runs" / name)
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "runs" / "file").touch()
    assert find_runs(tmp_path / "runs") == [tmp_path / "runs" / name for name in ("a", "b")]
    assert find_runs(tmp_path / "runs" / "a") == [tmp_path / "runs" / "a"]
    trial = made(tmp_path / "comparisons" / "one" / "runs" / "00-text-a" / "run-lr1-seed0")
    assert comparison_of(trial) is None
    (tmp_path / "comparisons" / "one" / "comparison.json").write_text("{}")
    assert find_runs(tmp_path / "comparisons") == find_runs(tmp_path / "comparisons" / "one") == [trial]
    assert comparison_of(trial) == tmp_path / "comparisons" / "one"


@pytest.mark.slow
def test_hundreds_of_runs_are_listed_in_a_second_without_torch(tmp_path):
    for number in range(300):
        made(tmp_path / "runs" / f"{number:03}", {"event": "finished"}, summary=SUMMARY)
    script = (
        "import sys, time; from zoo.cli.main import run; began = time.process_time(); run(['runs', '--json']);"
        "print(time.process_time() - began, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    seconds, torch = done.stderr.split()
    assert len(json.loads(done.stdout)) == 300
    assert float(seconds) < 1
    assert torch == "False"
