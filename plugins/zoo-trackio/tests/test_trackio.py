"""What Trackio has of a run: the rows of metrics.jsonl, whatever became of the run."""

import json
import subprocess
import sys
import threading
import uuid

import pytest
from zoo_trackio import Trackio

import zoo

from .runs import Program

ROWS = [{"step": 3, "loss": 0.1, "tokens": 2**53 - 1}, {"step": 6}, {"step": 9, "loss": None, "accuracy": 1 / 3}]

# In a process of its own, which finds the database of the program.
READ = """
import json, sys, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = {run.name: SQLiteStorage.get_logs(run.project, run_id=run.id) for run in trackio.Api().runs(sys.argv[1])}
json.dump(runs, sys.stdout)
"""


def new_run(folder, name="a"):
    settings, environment = {"mixer": "a|b", "lr": 1e-3, "layers": None}, {"cpu": {"cores": 2}}
    return zoo.ReportedRun(folder, name, uuid.uuid4().hex[:16], settings, environment)


@pytest.fixture
def run(tmp_path):
    return new_run(tmp_path)


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path, TRACKIO_DIR=str(tmp_path / "trackio"))


def logged_by(program, project="mixer-zoo"):
    """The rows and the samples of the only run of a project, as Trackio gives them."""
    command = [sys.executable, "-c", READ, project]
    printed = subprocess.check_output(command, env=program.environment, text=True)
    ((_, entries),) = json.loads(printed).items()
    for entry in entries:
        del entry["timestamp"]
    reports = [entry for entry in entries if any(isinstance(value, dict) for value in entry.values())]
    samples = [(entry["step"], entry["sample"]["_value"]) for entry in reports if "sample" in entry]
    return [entry for entry in entries if entry not in reports], samples


def test_each_row_is_there_at_once_and_no_thread_is_started(run, capfd):
    before = set(threading.enumerate())
    reporter = Trackio()
    reporter.open(run, ROWS[:1])
    for row in ROWS[1:]:
        reporter.row(row)
        assert Trackio().read(run)[-1]["step"] == row["step"]
    reporter.close()
    assert Trackio().read(run) == [ROWS[0], ROWS[1], {"step": 9, "accuracy": 1 / 3}]
    assert set(threading.enumerate()) == before
    assert capfd.readouterr() == ("", "")


def test_samples_and_figures_are_reports_and_settings_the_configuration(run):
    from trackio.sqlite_storage import SQLiteStorage

    reporter = Trackio()
    reporter.open(run, [])
    reporter.row({"step": 3, "loss": 1.0})
    reporter.sample(3, "a < b\n\n    ```\nf(**x, **ü\ud800)")
    reporter.finish({"loss": 1.0, "accuracies": {"length": {"8": 0.5}}})
    _, sample, figures = SQLiteStorage.get_logs("mixer-zoo", run_id=run.key)
    lines = ["`a < b`", "`\u00a0`", "`\u00a0 \u00a0 \u02cb\u02cb\u02cb`", "`f(*\u2060*x, *\u2060*ü?)`"]
    assert sample["sample"] == {"_type": "trackio.markdown", "_value": "\n\n".join(lines)}
    assert figures["step"] == 3
    assert figures["figures"]["_value"] == '- **loss**: `1.0`\n- **accuracies**: `{"length": {"8": 0.5}}`'
    config = SQLiteStorage.get_run_config("mixer-zoo", "a", run_id=run.key)
    assert {**run.settings, "environment": run.environment}.items() <= config.items()
    assert Trackio().read(run) == [{"step": 3, "loss": 1.0}]


def test_only_this_run_is_replaced(run, tmp_path):
    other = new_run(tmp_path)
    for of in (run, other):
        Trackio().open(of, ROWS)
    Trackio().open(run, ROWS[:1])
    assert [len(Trackio().read(of)) for of in (run, other)] == [1, 3]
    assert Trackio(project="elsewhere").read(run) == []


@pytest.mark.parametrize("project", ["", "my.model", "registry-a", "a_system"])
def test_a_project_that_cannot_be_is_refused(run, project):
    with pytest.raises(zoo.UsageError, match=f"^`project`='{project}' "):
        Trackio(project=project).open(run, [])


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_and_then_replayed(program):
    program.kill_in_the_middle("trackio", steps=300, rows=25)
    assert "has failed" not in program.run("train", "--resume", "run")
    assert program.logged()[-1]["step"] == 300
    rows, samples = logged_by(program)
    assert rows == program.logged()
    assert [step for step, _ in samples] == [*range(20, 301, 20)]
    for _ in range(2):
        assert (
            program.run("report", "run", "--to", "trackio(project=again)")
            == "trackio(project=again) has all rows of run\n"
        )
        assert logged_by(program, "again") == (rows, samples)


@pytest.mark.slow
def test_a_library_that_raises_leaves_the_run_whole(program):
    (program.folder / "site" / "trackio").mkdir()
    (program.folder / "site" / "trackio" / "__init__.py").write_text("raise OSError('no\\nlibrary')")
    said = program.run(*program.training("trackio"))
    assert said.count("has failed and gets nothing any more (OSError: no library)") == 1
    assert program.logged()[-1]["step"] == 40
    assert json.loads((program.folder / "run" / "summary.json").read_text())["steps"] == 40
