"""Folders and files whose names are not UTF-8: everything works with them."""

import json
import os

import pytest

pytestmark = pytest.mark.pictures

NAME = os.fsdecode(b"caf\xe9")

SIZES = ["--data", "delayed-copy(length=12, vocab=4, delay=2)", "--dim", "16", "--layers", "1", "--heads", "1"]
SIZES += ["--device", "cpu", "--budget", "steps:2", "--jobs", "1", "--set", "batch=2"]
SIZES += ["--set", "evaluation_tokens=64", "--set", "final_evaluation_tokens=64"]


@pytest.fixture
def place(tmp_path, monkeypatch, text_file):
    folder = tmp_path / NAME
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes only names of UTF-8")
    (folder / "text.txt").write_bytes(text_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return folder.relative_to(tmp_path)


def strict(path):
    return json.loads(path.read_bytes().decode("utf-8"))


@pytest.mark.slow
def test_a_run_from_beginning_to_end(zoo, tiny, place):
    run = place / "run"
    result = zoo("train", *tiny, "--data", place / "text.txt", "--out", run, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["run"] == str(run)
    assert strict(run / "summary.json")["run"] == str(run)
    assert strict(run / "config.json")["data"] == str(place / "text.txt")
    assert r"zoo generate $&#39;caf\xe9/run&#39;" in (run / "report.html").read_text("utf-8")
    resumed = zoo("train", "--resume", run, "--steps", 5)
    assert resumed.code == 0, resumed.err
    assert r"zoo train --resume $'caf\xe9/run' --steps 10" in resumed.out
    generated = zoo("generate", run, "--prompt", "def ", "--tokens", 3)
    assert generated.code == 0, generated.err
    again = zoo("train", "--config", run / "config.json", "--steps", 3, "--out", "again", "--json")
    assert json.loads(again.out)["steps"] == 3


@pytest.mark.slow
def test_an_inspection(zoo, trained, place):
    trained.rename(place / "run")
    result = zoo("inspect", place / "run", "--tokens", 64, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["report"] == str(place / "run" / "report.html")
    assert strict(place / "run" / "inspection" / "inspection.json")["run"] == str(place / "run")


@pytest.mark.slow
def test_a_comparison(zoo, place):
    texts = ["--data", place / "text.txt", "--seeds", 1]
    result = zoo("compare", "dot-product", "involution", *SIZES, *texts, "--out", place / "out")
    assert result.code == 0, result.err
    assert strict(place / "out" / "comparison.json")["arms"][2]["data"] == str(place / "text.txt")
    resumed = zoo("compare", "--resume", place / "out", "--json")
    assert (resumed.code, json.loads(resumed.out)["folder"]) == (0, str(place / "out"))


@pytest.mark.slow
def test_a_bench(zoo, place):
    flags = ["--lengths", 8, "--dim", 8, "--heads", 1, "--what", "memory", "--repeats", 1]
    result = zoo("bench", "dot-product", *flags, "--out", place / "out", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["folder"] == str(place / "out")


@pytest.mark.parametrize(
    "arguments", [["generate", "{}/gone"], ["inspect", "{}/gone"], ["train", "--resume", "{}/gone"],
                  ["train", "--data", "{}/gone"], ["compare", "--resume", "{}/gone"]]
)  # fmt: skip
def test_what_is_not_there_is_told_in_a_line(zoo, place, arguments):
    result = zoo(*(part.format(place) for part in arguments))
    assert result.code == 2
    assert result.err.count("\n") == 1


@pytest.mark.slow
def test_the_command_that_goes_on_is_one_that_a_shell_reads(zoo, tiny, place):
    result = zoo("train", *tiny, "--out", place / "it's")
    (command,) = (line.split(maxsplit=1)[1] for line in result.out.splitlines() if line.startswith("or "))
    assert command == r"zoo train --resume $'caf\xe9/it\'s' --steps 6"
