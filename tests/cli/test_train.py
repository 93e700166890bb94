import hashlib
import json
import math
import os
import shlex
import shutil
import signal
import tomllib
from functools import partial
from pathlib import Path

import pytest

from zoo.cli import progress
from zoo.errors import ZooError
from zoo.files.logs import read_samples
from zoo.train.resolve import DEFAULT_PRESET, list_presets, resolve

FIELDS = [
    "run",
    "mixer",
    "parameters",
    "steps",
    "train_loss",
    "validation_loss",
    "bits_per_byte",
    "unigram_loss",
    "validation_accuracy",
    "accuracies",
    "guess_levels",
    "tokens_per_second",
    "seconds",
    "metric",
    "unit",
    "writes_text",
    "ema_validation_loss",
    "ema_validation_accuracy",
    "utilisation",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_json_is_one_object_and_all_there_is_on_stdout(zoo, tiny):
    result = zoo("train", *tiny, "--json")
    assert result.code == 0
    summary = json.loads(result.out)
    assert list(summary) == FIELDS
    assert summary["steps"] == 3
    assert summary["mixer"] == "dot-product"
    assert Path(summary["run"]).parent == Path("runs")
    assert (Path(summary["run"]) / "report.html").is_file()


@pytest.mark.slow
def test_off_a_terminal_there_are_plain_lines(zoo, tiny, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    result = zoo("train", *tiny, "--set", "evaluate_every=2")
    assert "\x1b" not in result.out + result.err
    lines = [line for line in result.err.splitlines() if line.startswith("step ")]
    assert [line.split("  ")[0] for line in lines] == ["step 1/3", "step 2/3", "step 2/3", "step 3/3", "step 3/3"]
    assert "tokens/s" in lines[0]
    assert "validation loss" in lines[2]
    *_, sample = read_samples(next(Path("runs").iterdir()) / "samples.txt")
    assert result.err.endswith("".join(f"  {line}".rstrip() + "\n" for line in sample.text.strip("\n").splitlines()))


@pytest.mark.slow
def test_the_summary_says_what_to_type_next(zoo, tiny):
    result = zoo("train", *tiny, "--out", "a run")
    rows = dict(line.split(maxsplit=1) for line in result.out.splitlines() if line)
    assert Path(rows["curve"]).is_file()
    assert Path(rows["report"]).is_file()
    for command in (rows["next"], rows["or"]):
        program, *arguments = shlex.split(command)
        assert program == "zoo"
        assert zoo(*arguments).code == 0


def test_settings_come_from_the_preset_the_file_the_assignments_and_the_flags(zoo, tiny, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("lr = 0.5\nbatch = 5\nwarmup = 5")
    plan = ["--context", "16", "--dry-run", "--json"]
    layered = ["--config", file, "--set", "batch=6", "--set", "dropout=0.25", "--lr", "0.125"]
    result = zoo("train", *tiny[tiny.index("--steps") :], "--preset", "leviathan", *layered, *plan)
    assert result.code == 0, result.err
    settings = json.loads(result.out)["settings"]
    expected = {"heads": 2, "layers": 3, "warmup": 5, "batch": 6, "dropout": 0.25, "lr": 0.125}
    assert {name: settings[name] for name in expected} == expected


def test_a_dry_run_prints_settings_that_make_the_same_run_and_leaves_nothing(zoo, tiny, tmp_path):
    result = zoo("train", *tiny, "--set", "clip=none", "--set", "stop_accuracy=none", "--dry-run")
    assert result.code == 0
    assert not list(Path().iterdir())
    file = tmp_path / "settings.toml"
    file.write_text(result.out)
    again = zoo("train", "--config", file, "--dry-run")
    assert again.out == result.out
    assert (resolve(file=file).dim, resolve(file=file).clip) == (16, math.inf)
    assert set(tomllib.loads(result.out)) == set(type(resolve()).model_fields)
    assert "# parameters" in result.out


@pytest.mark.slow
def test_every_json_file_of_a_run_without_clipping_parses_strictly(zoo, tiny):
    result = zoo("train", *tiny, "--set", "clip=inf", "--out", "run", "--json")
    assert result.code == 0, result.err
    strict = partial(json.loads, parse_constant=pytest.fail)
    assert strict(result.out)["steps"] == 3
    files = [path for path in Path("run").rglob("*.json*") if path.is_file()]
    assert {"config.json", "env.json", "progress.json", "summary.json", "metrics.jsonl"} <= {
        path.name for path in files
    }
    for path in files:
        list(map(strict, path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]))
    assert strict(Path("run/config.json").read_text())["clip"] is None
    assert zoo("train", "--resume", "run", "--steps", 5).code == 0


@pytest.mark.slow
def test_a_run_whose_settings_hold_infinity_is_resumed(zoo, trained):
    settings = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps(settings | {"clip": math.inf}))
    (trained / "manifest.json").unlink()  # those that wrote it so had none
    assert zoo("train", "--resume", trained, "--steps", 5).code == 0


@pytest.mark.slow
def test_a_dry_run_counts_what_the_run_has(zoo, tiny, finished):
    plan = json.loads(zoo("train", *tiny, "--dry-run", "--json").out)
    metadata = json.loads((finished / "config.json").read_text())
    assert plan["settings"] == metadata
    memory = plan["memory"]
    assert memory["parameters"] == memory["gradients"] == 4 * plan["parameters"]
    averages, counters = divmod(memory["optimizer"], memory["parameters"])
    assert averages == 2
    assert 0 < counters < 4 * 30  # AdamW counts the steps of each tensor
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")


@pytest.mark.slow
def test_resume_goes_on(zoo, trained):
    result = zoo("train", "--resume", trained, "--steps", 5, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["steps"] == 5
    assert summary["run"] == str(trained)


@pytest.mark.slow
def test_resume_takes_no_other_settings(zoo, trained):
    before = fingerprint(trained)
    others = ["--dim", 32, "--set", "lr=1", "--out", "x", "--compile", "--lr", 0.0, "--dry-run"]
    result = zoo("train", "--resume", trained, "--steps", 5, *others)
    assert result.code == 2
    assert "leave out --dim, --lr, --compile, --set, --out, --dry-run;" in result.err
    assert "leave out --compile;" in zoo("train", "--resume", trained, "--no-compile").err
    assert fingerprint(trained) == before


@pytest.mark.slow
def test_resume_is_told_where_the_text_lies_now(zoo, tiny, text_file):
    shutil.copy(text_file, "text.txt")
    tiny = [*tiny]
    tiny[tiny.index("--data") + 1] = "text.txt"
    assert zoo("train", *tiny, "--out", "run").code == 0
    Path("text.txt").rename("moved.txt")
    lost = zoo("train", "--resume", "run", "--steps", 5)
    assert (lost.code, lost.err.count("\n")) == (2, 1)
    assert f"looked for {Path('text.txt').absolute()}: name the same text with --data PATH" in lost.err
    assert zoo("train", "--resume", "run", "--steps", 5, "--data", "moved.txt").code == 0
    assert zoo("train", "--resume", "run", "--steps", 6).code == 0


FAILS = """
    import numpy as np
    from zoo import Examples, Task, hookimpl

    class Fails(Task):
        def __init__(self):
            self.vocab_size, self.length = 4, 8

        def draw(self, generator, examples, *, length, test):
            raise RuntimeError("no such file: table.npy")

    @hookimpl
    def zoo_tasks():
        return {"fails": Fails}
"""


@pytest.mark.slow
def test_what_fails_at_set_up_leaves_no_folder(zoo, distribution, monkeypatch):
    distribution("acme-tasks", FAILS)
    for _ in range(2):  # a folder that was left would be in the way of the second
        result = zoo("train", "--data", "fails", "--out", "run")
        assert (result.code, result.out) == (4, "")
        assert "no such file: table.npy" in result.err
        assert not Path("run").exists()

    def fail(*_args, **_kwargs):
        raise ZooError("no room")

    monkeypatch.setattr("zoo.train.loop.save_checkpoint", fail)
    assert zoo("train", "--data", "parity", "--dim", 16, "--out", "run").code == 1
    assert not Path("run").exists()


@pytest.mark.slow
def test_interrupting_saves_and_says_how_to_go_on(zoo, tiny, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(progress.Lines, "progress", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        result = zoo("train", *tiny, "--out", "run", "--json")
    assert result.code == 130
    assert result.out == ""
    assert "Ctrl-C again stops now" in result.err
    resumed = zoo(*shlex.split(result.err.splitlines()[-1].partition("zoo ")[2]), "--json")
    assert resumed.code == 0
    assert json.loads(resumed.out)["steps"] == 3


def test_help_tells_presets_and_defaults(zoo):
    text = zoo("train", "--help").out
    words = " ".join(text.split())
    for name, meaning in list_presets().items():
        assert f"{name} {meaning}" in words
    assert f"({DEFAULT_PRESET} by default" in words
    assert f"[{resolve().steps}]" in words
    assert "--set dropout=" in words


@pytest.mark.slow
def test_the_examples_of_the_help_are_understood(zoo, text_file):
    examples = zoo("train", "--help").out.split("Examples:\n")[1].splitlines()
    assert len(examples) >= 5
    for example in examples:
        arguments = [part.replace("texts/", str(text_file.parent)) for part in shlex.split(example)[1:]]
        if not {"--resume", "--from"} & set(arguments):  # their runs are not there
            if "shakespeare" in arguments:
                arguments[arguments.index("shakespeare")] = str(text_file)
            small = () if "mqar" in example else ("--context", 16)
            assert zoo(*arguments, *small, "--dry-run").code == 0, example
