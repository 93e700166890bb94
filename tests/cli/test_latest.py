"""`latest` is the run, or the comparison, that was begun last."""

import json
import os
from pathlib import Path

import pytest

from zoo.cli.latest import LATEST, folder_argument, resolve_latest
from zoo.errors import UsageError

SIGN = {"sign": "config.json", "what": "run"}


def begun(root, name, time, *, events=True):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if events:
        lines = [{"time": time, "event": "started"}, {"time": "2030-01-01T00:00:00Z", "event": "resumed"}]
        (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_run_that_was_begun_last(tmp_path, capsys):
    begun(tmp_path, "z", "2025-03-01T00:00:00Z")
    newest = begun(tmp_path, "a", "2025-03-02T00:00:00Z")
    begun(tmp_path, "b", "2025-03-01T12:00:00Z")
    (tmp_path / "no-run").mkdir()
    assert resolve_latest(LATEST, tmp_path, **SIGN) == newest
    assert capsys.readouterr().err == f"latest is {newest}\n"


def test_without_events_the_file_tells_when(tmp_path):
    begun(tmp_path, "a", "2025-03-02T00:00:00Z")
    silent = begun(tmp_path, "b", "", events=False)
    os.utime(silent / "config.json", (2e9, 2e9))
    assert resolve_latest(LATEST, tmp_path, **SIGN) == silent
    os.utime(silent / "config.json", (1e9, 1e9))
    assert resolve_latest(LATEST, tmp_path, **SIGN) == tmp_path / "a"


def test_a_folder_that_is_called_so_and_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun(tmp_path / "runs", "a", "2025-03-02T00:00:00Z")
    assert resolve_latest(folder_argument("./latest"), Path("runs"), **SIGN) == tmp_path / "latest"
    assert resolve_latest(folder_argument("runs/b"), Path("runs"), **SIGN) == Path("runs/b")
    assert resolve_latest(folder_argument("latest"), Path("runs"), **SIGN) == Path("runs/a")


@pytest.mark.parametrize("command", [("generate", "latest"), ("inspect", "latest"), ("train", "--resume", "latest"),
                                     ("compare", "--resume", "latest")])  # fmt: skip
def test_where_there_is_none(zoo, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = zoo(*command)
    assert result.code == 2
    assert "yet, so none is the latest: name its folder" in result.err
    with pytest.raises(UsageError, match=r"^there is no run in runs/ yet"):
        resolve_latest(LATEST, Path("runs"), **SIGN)


@pytest.mark.slow
def test_a_run_is_used_and_a_finished_one_stays_as_it_is(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ["--layers", 1, "--dim", 16, "--heads", 1, "--batch", 2, "--context", 16, "--device", "cpu"]
    tiny += ["--set", "final_evaluation_tokens=64", "--set", "sample_tokens=8"]
    assert zoo("train", "--mixer", "involution", *tiny, "--steps", 3).code == 0
    assert zoo("generate", "latest", "--tokens", 3).code == 0
    (run,) = Path("runs").iterdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = zoo("train", "--resume", "latest")
    assert result.code == 0
    assert "the run has finished its 3 steps and stays as it is; --steps 6 trains it longer" in result.err
    assert "nats per token" in result.out
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert zoo("train", "--resume", "latest", "--steps", 5).code == 0
    assert json.loads((run / "summary.json").read_text())["steps"] == 5
