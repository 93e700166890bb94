"""Data sets of a folder, which need no network, and what is said of those that would."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from zoo_datasets import HuggingFace

import zoo
from zoo.testing import check_member

TEXTS = [f"tale {number} of {number * number} words and a ü" for number in range(300)]
ZOO = Path(sys.executable).with_name("zoo")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No network, and caches of the test's own."""
    for name, value in {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "ZOO_CACHE": str(tmp_path / "zoo")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf" / "datasets"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True, raising=False)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "tales"
    path.mkdir()
    rows: list = [{"text": text, "title": str(number), "number": number} for number, text in enumerate(TEXTS)]
    rows.append({"text": None})
    (path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_laws(folder):
    results = check_member("corpus", f"hf(name='{folder}')", strict=True)
    assert {result.law: result.message for result in results if result.status != "passed"} == {}


def test_the_texts_are_those_of_the_field_in_their_order(folder):
    assert list(HuggingFace(name=str(folder)).documents()) == [*TEXTS, ""]
    assert list(HuggingFace(name=str(folder), field="title").documents())[:2] == ["0", "1"]


def test_the_fingerprint_changes_with_the_files(folder):
    before = HuggingFace(name=str(folder)).fingerprint()
    assert HuggingFace(name=str(folder)).fingerprint() == before
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    assert HuggingFace(name=str(folder)).fingerprint() != before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"field": "content"}, r"has no field 'content', but text, title, number: name the one with the text by the"),
        ({"field": "number"}, r"^the field 'number' of .* holds no text: choose another$"),
        ({"split": "tset"}, r"cannot be read: Unknown split \"tset\""),
        ({"name": "nobody/nothing-at-all"}, r"nobody/nothing-at-all.*(cannot be reached|that can be read from here)"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(folder, options, error):
    with pytest.raises(zoo.UsageError, match=error) as caught:
        list(HuggingFace(**{"name": str(folder), **options}).documents())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_learns_from_it_and_is_resumed(folder, tmp_path):
    def run(*words):
        done = subprocess.run([ZOO, *words], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done

    tiny = ["--dim", "16", "--layers", "1", "--heads", "2", "--context", "16", "--batch", "2", "--device", "cpu"]
    tiny += ["--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64", "--set", "sample_tokens=8"]
    run("train", "--data", f"hf:{folder}", "--steps", "3", *tiny, "--out", "run")
    described = json.loads(run("data", f"hf:{folder}", "--json").stdout)
    assert described["train"]["documents"] + described["validation"]["documents"] == len(TEXTS)
    run("train", "--resume", "run", "--steps", "5")
