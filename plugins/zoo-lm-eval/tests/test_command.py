"""``zoo evaluate`` as a user types it."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
import zoo_lm_eval.__main__ as program

from zoo.cli.main import run as run_zoo
from zoo.errors import UsageError


def test_the_help_waits_for_neither_torch_nor_the_harness():
    code = "import sys, zoo_lm_eval_plugin.command; print({'torch', 'lm_eval', 'numpy'} & set(sys.modules) or [])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_table_of_the_metrics(make_run, choices, rolling, capsys):
    run, _ = make_run()
    rolling("text", "the quick brown fox")
    assert run_zoo(["evaluate", str(run.path), "--tasks", str(choices.parent)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["task", "metric", "value", "error", "better", "examples", "shots"]
    assert [line[:2] for line in lines[1:4]] == [["choices", "acc"], ["choices", "acc_norm"], ["text", "bits_per_byte"]]
    assert lines[1][4:] == ["higher", "3", "0"]
    assert lines[3][3:] == ["lower", "1", "0"]


def test_a_file_of_results_is_new(make_run, choices, tmp_path, capsys):
    run, _ = make_run()
    command = ["evaluate", str(run.path), "--tasks", str(choices), "--out", str(tmp_path / "out.json"), "--json"]
    assert run_zoo(command) == 0
    written = (tmp_path / "out.json").read_text()
    assert json.loads(capsys.readouterr().out) == json.loads(written)
    assert json.loads(written)["model"]["run"] == str(run.path)
    assert run_zoo(command) == 2
    assert "out.json exists: choose another --out" in capsys.readouterr().err
    assert (tmp_path / "out.json").read_text() == written
    assert run_zoo([*command[:-2], str(tmp_path / "no" / "out.json")]) == 2
    assert "for --out: make it, or choose another" in capsys.readouterr().err


def test_mistakes_are_one_line(make_run, choices, tmp_path, capsys):
    run, _ = make_run()
    for arguments, message in (
        ([str(tmp_path / "nope"), "--tasks", str(choices)], "there is no run at"),
        ([str(run.path), "--tasks", "./nope.yaml"], "there is no file or folder ./nope.yaml with tasks"),
        ([str(run.path), "--tasks", str(choices), "--limit", "0"], "--limit 0 should be 1 or more"),
        ([str(run.path), "--tasks", str(choices), "--context", "0"], "--context 0 should be 1 or more"),
        ([str(run.path), "--tasks", ","], "--tasks ',' should be names of tasks"),
    ):
        assert run_zoo(["evaluate", *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("error: ")
        assert message in err


def test_without_the_harness(make_run, choices, capsys, monkeypatch):
    run, _ = make_run()

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert run_zoo(["evaluate", str(run.path), "--tasks", str(choices)]) == 2
    assert capsys.readouterr().err == "error: zoo evaluate needs the LM Evaluation Harness: pip install lm-eval\n"


def test_with_an_old_harness(make_run, choices, capsys, monkeypatch):
    run, _ = make_run()
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.4.9.1")
    assert run_zoo(["evaluate", str(run.path), "--tasks", str(choices)]) == 2
    assert "zoo evaluate needs lm-eval 0.4.13, and 0.4.9.1 is installed" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_but_the_results_is_printed(make_run, choices):
    run, _ = make_run()
    code = "import sys; from zoo.cli.main import main; sys.argv[0] = 'zoo'; main()"
    command = [sys.executable, "-c", code, "evaluate", str(run.path), "--tasks", str(choices), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)["results"]) == {"choices"}
    assert done.stderr == ""


@pytest.mark.slow
def test_the_program_of_the_harness(make_run, rolling):
    run, _ = make_run()
    command = [sys.executable, "-m", "zoo_lm_eval", "--model", "zoo", "--model_args", f"run={run.path}", "--tasks"]
    done = subprocess.run([*command, str(rolling("text", "the fox"))], capture_output=True, text=True, check=True)
    assert "bits_per_byte" in done.stdout


def test_a_mistake_in_the_program_of_the_harness_is_one_line(monkeypatch, capsys):
    def fail():
        raise UsageError("there is no run at nope")

    monkeypatch.setattr(program, "cli_evaluate", fail)
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert capsys.readouterr().err == "error: there is no run at nope\n"
