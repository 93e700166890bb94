"""What wandb writes offline: the rows of metrics.jsonl, whatever became of the run."""

import json
import os
import socket
import subprocess
import sys
import uuid

import pytest
from zoo_wandb import Wandb

import zoo

from .runs import Program

ROWS = [{"step": 3, "loss": 0.1, "tokens": 2**53 - 1}, {"step": 6}, {"step": 9, "loss": None, "accuracy": 1 / 3}]

# Prints what of the process a reporter has changed.
INTACT = """
import json, os, pathlib, signal, sys, threading, zoo, zoo_wandb

def process():
    signals = {str(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hooks = {name: getattr(sys, name) for name in ("exit", "excepthook", "stdout", "stderr", "displayhook")}
    hooks["threading"] = threading.excepthook
    return {**signals, **hooks, "service": os.environ.get("WANDB_SERVICE")}

before = process()
reporter = zoo_wandb.Wandb()
reporter.open(zoo.ReportedRun(pathlib.Path("."), "a", "k", {}, {}), [{"step": 1}])
during = process()
reporter.close()
print(json.dumps([name for name in before if {during[name], process()[name]} != {before[name]}]))
"""


def new_run(folder, name="a"):
    settings, environment = {"mixer": "a|b", "lr": 1e-3, "layers": None}, {"cpu": {"cores": 2}}
    return zoo.ReportedRun(folder, name, uuid.uuid4().hex[:16], settings, environment)


@pytest.fixture
def run(tmp_path):
    return new_run(tmp_path)


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


def records_of(run, folder):
    from wandb.proto.wandb_internal_pb2 import Record
    from zoo_wandb import _records_in

    (path,) = (folder / "wandb").glob(f"*run-*/run-{run.key}.wandb")
    return [Record.FromString(content) for content in _records_in(path.read_bytes())]


def held_by(folder, beside=None):
    """The rows and the samples of the only run in a folder."""
    (path,) = ((beside or folder) / "wandb").glob("*run-*/run-*.wandb")
    key = path.stem.removeprefix("run-")
    rows = Wandb(folder=str(beside or folder)).read(zoo.ReportedRun(folder, folder.name, key, {}, {}))
    samples = sorted((path.parent / "files" / "media" / "html").glob("sample_*"), key=lambda each: each.stat().st_mtime)
    return rows, [each.read_text() for each in samples]


def test_each_row_is_held(run, capfd):
    reporter = Wandb()
    reporter.open(run, ROWS[:1])
    for row in ROWS[1:]:
        reporter.row(row)
    reporter.close()
    assert Wandb().read(run) == [ROWS[0], ROWS[1], {"step": 9, "accuracy": 1 / 3}]
    assert capfd.readouterr() == ("", "")


def test_more_than_a_block_is_read_back(run):
    rows = [{"step": step, **{f"figure {n}": step / (n + 1) for n in range(50)}} for step in range(200)]
    reporter = Wandb()
    reporter.open(run, rows)
    reporter.close()
    assert Wandb().read(run) == rows


def test_samples_settings_and_figures(run, tmp_path):
    reporter = Wandb()
    reporter.open(run, [{"step": 3, "loss": 1.0}, {"step": 6, "loss": 2.0}])
    reporter.sample(3, "a < b\nü\ud800")  # an earlier one, again
    reporter.row({"step": 9, "loss": 3.0})
    reporter.finish({"loss": 0.5, "accuracies": {"length": {"8": 0.5}}})
    reporter.close()
    assert [row["step"] for row in Wandb().read(run)] == [3, 6, 9]
    assert held_by(tmp_path)[1] == ["<pre>a &lt; b\nü?</pre>"]
    records = records_of(run, tmp_path)
    (begun,) = [record.run for record in records if record.HasField("run")]
    config = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in begun.config.update}
    assert {**run.settings, "environment": run.environment}.items() <= config.items()
    assert (begun.run_id, begun.display_name, begun.project) == (run.key, "a", "mixer-zoo")
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]
    updated = [item for record in records if record.HasField("summary") for item in record.summary.update]
    summary = {".".join([item.key, *item.nested_key]).strip("."): json.loads(item.value_json) for item in updated}
    assert summary["loss"] == 0.5


def test_only_this_run_is_replaced(tmp_path):
    runs = [new_run(tmp_path), new_run(tmp_path)]
    for run in (*runs, runs[0]):
        reporter = Wandb(folder=str(tmp_path / "all"))
        reporter.open(run, ROWS if run is runs[1] else ROWS[:1])
        reporter.close()
    assert [len(Wandb(folder=str(tmp_path / "all")).read(run)) for run in runs] == [1, 3]


@pytest.mark.slow
def test_the_process_is_left_as_it_was(tmp_path):
    """In a new process: wandb takes its hooks once."""
    environment = {**os.environ, "WANDB_SERVICE": "that of another process"}
    printed = subprocess.check_output([sys.executable, "-c", INTACT], cwd=tmp_path, env=environment, text=True)
    assert json.loads(printed) == []


@pytest.mark.parametrize("project", ["", "a/b", "a#", "x" * 129])
def test_a_project_that_cannot_be_is_refused(project):
    with pytest.raises(zoo.UsageError, match=r"^`project`='.*' should have 1 to 128 characters"):
        Wandb(project=project)


def test_a_folder_that_cannot_be_one_is_refused(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(zoo.UsageError, match=r"^`folder`='\S+/file' should be a folder, and \S+ cannot be one$"):
        Wandb(folder=str(tmp_path / "file")).open(run, [])


@pytest.mark.parametrize("key", [None, "short"])
def test_without_a_login_nothing_begins_online(run, tmp_path, monkeypatch, key):
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    for reporter in (Wandb(mode="online"), Wandb()):
        monkeypatch.setenv("WANDB_MODE", "offline" if reporter.mode == "online" else "online")
        with pytest.raises(zoo.UsageError, match="type `wandb login`"):
            reporter.open(run, ROWS)
    assert not (tmp_path / "wandb").exists()


def test_a_mode_of_the_environment_that_is_none_is_refused(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "of line")
    with pytest.raises(zoo.UsageError, match=r"^WANDB_MODE='of line' should be one of online, offline, disabled$"):
        Wandb().open(run, [])


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_and_then_replayed(program):
    program.kill_in_the_middle("wandb", steps=300, rows=25)
    assert "has failed" not in program.run("train", "--resume", "run")
    assert program.logged()[-1]["step"] == 300
    rows, samples = held_by(program.folder / "run")
    assert rows == program.logged()
    assert len(samples) == 15
    for _ in range(2):
        assert (
            program.run("report", "run", "--to", "wandb(folder=again)") == "wandb(folder=again) has all rows of run\n"
        )
        assert held_by(program.folder / "run", program.folder / "again") == (rows, samples)


@pytest.mark.slow
def test_offline_no_process_looks_for_the_network(program):
    """W&B's service is no Python: it would go through the proxy, which listens here and hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            program.environment |= {name: address, name.upper(): address}
        program.run(*program.training("wandb"))
        proxy.settimeout(1)
        with pytest.raises(TimeoutError):
            proxy.accept()
    assert held_by(program.folder / "run")[0] == program.logged()


@pytest.mark.slow
def test_a_training_without_a_login_is_refused_before_it_begins(program):
    program.environment["WANDB_MODE"] = "online"
    process = program.start(*program.training("wandb"))
    _, warned = process.communicate(timeout=300)
    assert process.returncode == 2
    assert warned.count("nobody is logged in to Weights & Biases") == 1
    assert "Traceback" not in warned


@pytest.mark.slow
def test_a_library_that_raises_leaves_the_run_whole(program):
    (program.folder / "site" / "wandb").mkdir()
    (program.folder / "site" / "wandb" / "__init__.py").write_text("raise OSError('no\\nlibrary')")
    said = program.run(*program.training("wandb"))
    assert said.count("has failed and gets nothing any more (OSError: no library)") == 1
    assert program.logged()[-1]["step"] == 40
    assert json.loads((program.folder / "run" / "summary.json").read_text())["steps"] == 40
