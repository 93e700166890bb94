"""Runs are listed, sorted and filtered; what is removed is what was named, and nothing else ever."""

import io
import json
import shutil
from pathlib import Path

import pytest

from zoo.cli.runs import ORDERS
from zoo.files.atomic import locked
from zoo.train.manifest import write_sealed


def made(folder, mixer="dot-product", *, loss=None, steps=10, started=0):
    folder.mkdir(parents=True)
    write_sealed(folder, "config.json", json.dumps({"mixer": mixer, "dim": 1, "context": 1, "data": "d", "steps": 10}))
    event = {"time": f"2025-01-01T00:00:{started:02}Z", "event": "started", "step": 0}
    events = [event, event | {"event": "interrupted", "step": steps}]
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in events))
    row = {"step": steps, "validation_loss": loss}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "runs" / "b", "mamba2", loss=2.0, steps=5, started=1)
    made(tmp_path / "runs" / "a", "dot-product", loss=1.0, steps=10, started=2)
    made(tmp_path / "runs" / "c", "mamba2, dot-product", steps=7, started=3)
    made(tmp_path / "kept" / "d")
    (tmp_path / "kept" / "note").write_text("mine")
    return tmp_path / "runs"


def names(zoo, *arguments):
    result = zoo("runs", *arguments, "--json")
    assert (result.code, result.err) == (0, "")
    return [run["name"] for run in json.loads(result.out)]


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def answer(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_table(zoo, runs):
    lines = zoo("runs").out.splitlines()
    assert lines[0].split() == ["name", "mixer", "data", "steps", "loss", "accuracy", "time", "state"]
    assert lines[1].split() == ["b", "mamba2", "d", "5/10", "2.0000", "interrupted"]
    assert lines[2].split() == ["a", "dot-product", "d", "10", "1.0000", "interrupted"]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "bac"),
        (["runs"], "bac"),
        (["kept"], "d"),
        (["runs", "kept", "runs/a"], "dbac"),
        (["b"], "b"),
        (["runs/a", "c"], "ac"),
        (["*mamba*"], "bc"),
        (["[ab]"], "ba"),
        (["kept/*"], "d"),
        (["nothing*"], ""),
        (["latest"], "c"),
        (["--sort", "name"], "abc"),
        (["--sort", "loss"], "abc"),
        (["--sort", "steps"], "acb"),
        (["--sort", "time"], "bac"),
    ],
)
def test_which_runs_in_which_order(zoo, runs, arguments, expected):
    result = zoo("runs", *arguments, "--json")
    assert result.code == 0
    assert "".join(run["name"] for run in json.loads(result.out)) == expected


def test_where_there_is_none(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo("runs").err == "there is no run in runs/ yet: zoo train makes one\n"
    assert json.loads(zoo("runs", "--json").out) == []


def test_damage_is_said_below_the_table(zoo, runs):
    (runs / "a" / "config.json").write_text("{")
    result = zoo("runs")
    assert result.code == 0
    assert result.out.splitlines()[2].split()[-1] == "damaged"
    assert result.err.startswith("note: runs/a/config.json is damaged")


def test_runs_of_one_name_are_shown_by_their_folders(zoo, runs):
    made(runs.parent / "kept" / "a")
    out = zoo("runs", "runs", "kept").out
    assert "runs/a " in out
    assert "kept/a " in out


def test_what_was_named_is_removed_after_a_yes(zoo, runs, monkeypatch):
    answer(monkeypatch, "y\n")
    result = zoo("runs", "rm", "a", "runs/b")
    assert result.code == 0
    assert result.err.splitlines() == ["runs/a", "runs/b", "remove 2 runs for good (0.0 MB)? [y/N]", "removed 2 runs"]
    assert names(zoo) == ["c"]
    assert names(zoo, "kept") == ["d"]


@pytest.mark.parametrize("text", ["n\n", "\n", "yesterday\n"])
def test_anything_but_a_yes_removes_nothing(zoo, runs, monkeypatch, text):
    before = tree(runs)
    answer(monkeypatch, text)
    result = zoo("runs", "rm", "*")
    assert (result.code, result.err.splitlines()[-1]) == (0, "nothing was removed")
    assert tree(runs) == before


def test_without_an_answer_nothing_is_removed(zoo, runs, monkeypatch):
    answer(monkeypatch, "")
    result = zoo("runs", "rm", "a")
    assert result.code == 2
    assert (
        result.err.splitlines()[-1] == "error: rm asks on stdin, where no answer came: pass --yes; nothing was removed"
    )
    assert (runs / "a").is_dir()


def test_a_glob_goes_by_names_and_yes_does_not_ask(zoo, runs):
    result = zoo("runs", "rm", "[ab]", "--yes", "--json")
    assert json.loads(result.out) == {"removed": ["runs/a", "runs/b"], "kept": {}}
    assert names(zoo) == ["c"]
    assert zoo("runs", "rm", "*mamba*", "--yes").code == 2  # that is a mixer, and no name
    assert names(zoo) == ["c"]


def test_a_run_that_is_running_stays(zoo, runs):
    with locked(runs / "a"):
        named = zoo("runs", "rm", "b", "a", "--yes")
        assert (named.code, len(list(runs.iterdir()))) == (2, 3)
        assert named.err == "error: runs/a is running: stop it first, or wait until it ends; nothing was removed\n"
        result = zoo("runs", "rm", "*", "--yes", "--json")
        assert json.loads(result.out) == {"removed": ["runs/b", "runs/c"], "kept": {"runs/a": "it is running"}}
    assert names(zoo) == ["a"]


def test_nothing_is_removed_through_a_link(zoo, runs, tmp_path):
    kept = tmp_path / "kept"
    before = tree(kept)
    (runs / "link").symlink_to(kept / "d")
    (tmp_path / "store").symlink_to(kept)
    for name in ("link", "*", "store/d", "store/*"):
        result = zoo("runs", "rm", name, "--yes")
        assert result.code == 2
        assert "lies behind a link: name " in result.err
    assert len(list(runs.iterdir())) == 4
    (runs / "link").unlink()
    (runs / "a" / "inside").symlink_to(kept)
    (runs / "a" / "checkpoints").mkdir()
    (runs / "a" / "checkpoints" / "deep").symlink_to(kept)
    assert zoo("runs", "rm", "a", "--yes").code == 0
    assert not (runs / "a").exists()
    assert tree(kept) == before


def test_a_run_of_a_comparison_stays(zoo, runs, tmp_path):
    trial = made(tmp_path / "one" / "runs" / "00-a" / "run-lr1-seed0")
    (tmp_path / "one" / "comparison.json").write_text("{}")
    for word in (trial, "one/runs/00-a/*"):
        result = zoo("runs", "rm", word, "--yes")
        assert result.code == 2
        assert "belongs to the comparison" in result.err
    assert trial.is_dir()
    assert names(zoo, "one") == ["run-lr1-seed0"]


def test_a_damaged_run_can_be_removed(zoo, runs):
    (runs / "a" / "config.json").write_text("{")
    assert zoo("runs", "rm", "a", "--yes").code == 0
    assert not (runs / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rm"], "rm removes the runs that follow it: name them, e.g. zoo runs rm latest, or 'runs/2025*'"),
        (["rm", "kept"], "kept is not a run, and rm removes nothing else; nothing was removed"),
        (["rm", ".", "--yes"], ". is not a run, and rm removes nothing else; nothing was removed"),
        (["rm", "a", "nowhere", "--yes"], "there is no run nowhere: see zoo runs; nothing was removed"),
        (["rm", "x*", "--yes"], "no run in runs/ has a name like 'x*': see zoo runs; nothing was removed"),
        (["rm", "a", "--sort", "loss"], "--sort orders the list, and rm removes: leave it out"),
        (["--yes"], "--yes is for `zoo runs rm`, and the list asks nothing: leave it out"),
        (["--sort", "los"], f"--sort los (did you mean 'loss'?): it should be one of {', '.join(ORDERS)}"),
        (["nowhere"], "there is no folder nowhere, nor a run of that name in runs/: see zoo runs"),
    ],
)  # fmt: skip
def test_mistakes(zoo, runs, arguments, text):
    before = tree(runs.parent)
    result = zoo("runs", *arguments)
    assert (result.code, result.out, result.err) == (2, "", f"error: {text}\n")
    assert tree(runs.parent) == before


@pytest.mark.slow
def test_a_run_of_zoo_train_is_listed_and_removed(zoo, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "runs" / "mine")
    (run,) = json.loads(zoo("runs", "--json").out)
    summary = json.loads((finished / "summary.json").read_text())
    assert (run["state"], run["step"], run["steps"]) == ("finished", 3, 3)
    assert (run["loss"], run["accuracy"]) == (summary["validation_loss"], summary["validation_accuracy"])
    assert run["run"] == str(Path("runs") / "mine")
    assert zoo("runs", "rm", "latest", "--yes").code == 0
    assert list(Path("runs").iterdir()) == []
