import json
import shutil
from functools import partial

import pytest

import zoo
from zoo.data.load import task_call
from zoo.errors import UsageError
from zoo.lab.inspect.inspection import source_of_run
from zoo.train import find_data
from zoo.train.find_data import text_path
from zoo.train.run_directory import RunDirectory
from zoo.train.session import resume as resume_with_pages
from zoo.train.session import start as start_with_pages

start, resume = (partial(work, pages=False) for work in (start_with_pages, resume_with_pages))


@pytest.fixture
def elsewhere(tiny, text, tmp_path, monkeypatch):
    """A run whose text was named by a relative path; the process is in another folder now."""
    (tmp_path / "project").mkdir()
    (tmp_path / "other").mkdir()
    shutil.move(text, tmp_path / "project" / "text.txt")
    monkeypatch.chdir(tmp_path / "project")
    start(tiny(data="text.txt", steps=4), root=tmp_path, out=tmp_path / "run")
    monkeypatch.chdir(tmp_path / "other")
    return tmp_path / "run"


def recorded(run):
    return RunDirectory.open(run).environment["data_path"]


def move(tmp_path):
    return shutil.move(tmp_path / "project" / "text.txt", tmp_path / "moved.txt")


@pytest.mark.slow
def test_a_relative_path_is_found_from_another_folder(elsewhere, tmp_path):
    assert RunDirectory.open(elsewhere).config["data"] == "text.txt"
    assert recorded(elsewhere) == str(tmp_path / "project" / "text.txt")
    assert resume(elsewhere, steps=6).steps == 6
    run = zoo.load_run(elsewhere)
    assert source_of_run(run).name
    assert "".join(run.generate("def", tokens=3))


@pytest.mark.slow
def test_the_path_as_typed_counts_where_a_whole_folder_was_moved(elsewhere, tmp_path, monkeypatch):
    (tmp_path / "project").rename(tmp_path / "renamed")
    monkeypatch.chdir(tmp_path / "renamed")
    assert resume(elsewhere, steps=6).steps == 6
    assert recorded(elsewhere) == str(tmp_path / "renamed" / "text.txt")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"another text of that name", b"no text \0", b""])
def test_another_file_of_that_name_is_passed_over(elsewhere, tmp_path, content):
    (tmp_path / "other" / "text.txt").write_bytes(content)
    assert resume(elsewhere, steps=6).steps == 6


def test_it_says_where_it_looked(elsewhere, tmp_path):
    moved = move(tmp_path)
    with pytest.raises(UsageError) as caught:
        resume(elsewhere, steps=6)
    places = f"{tmp_path / 'other' / 'text.txt'} and {tmp_path / 'project' / 'text.txt'}"
    told = f"the data 'text.txt' of the run is not there, looked for {places}: name the same text with `data`=PATH"
    assert str(caught.value) == told
    (tmp_path / "other" / "text.txt").write_text("another")
    with pytest.raises(UsageError, match=r"has changed since the run began, .* \(looked at .*other/text.txt\); name"):
        source_of_run(zoo.load_run(elsewhere))
    assert source_of_run(zoo.load_run(elsewhere), data=str(moved)).name


@pytest.mark.slow
def test_a_text_that_was_moved_is_named_once_and_remembered(elsewhere, tmp_path):
    moved = move(tmp_path)
    assert resume(elsewhere, steps=6, data="../moved.txt").steps == 6
    assert recorded(elsewhere) == str(tmp_path / "other" / "../moved.txt")
    assert resume(elsewhere, steps=8).steps == 8
    other = tmp_path / "other.txt"
    other.write_text(moved.read_text() + "more")
    with pytest.raises(UsageError, match=r"other\.txt is not the text with which the run began: its checksum differs"):
        resume(elsewhere, steps=10, data=str(other))
    with pytest.raises(UsageError, match=r"there is no data '.*none\.txt'"):
        resume(elsewhere, steps=10, data="none.txt")


@pytest.mark.slow
def test_a_run_of_before_looks_where_the_path_was_typed(elsewhere, tmp_path, monkeypatch):
    run = RunDirectory.open(elsewhere)
    run.write_environment({name: value for name, value in run.environment.items() if name != "data_path"})
    with pytest.raises(UsageError, match=r"looked for \S+other/text\.txt: name the same text"):
        resume(elsewhere, steps=6)
    monkeypatch.chdir(tmp_path / "project")
    assert resume(elsewhere, steps=6).steps == 6
    assert recorded(elsewhere) == str(tmp_path / "project" / "text.txt")


@pytest.mark.slow
def test_a_run_of_before_that_took_a_mark_for_text_is_resumed_with_it(tiny, text, tmp_path, monkeypatch):
    text.write_bytes(b"\xef\xbb\xbf" + text.read_bytes())
    settings, load = tiny(tokenizer="char", steps=4), find_data.load_text
    with monkeypatch.context() as patch:  # as it was read then
        patch.setattr("zoo.data.dataset.load_text", lambda data, **how: load(data, keep_marks=True, **how))
        start(settings, root=tmp_path, out=tmp_path / "run")
    assert "\ufeff" in RunDirectory.open(tmp_path / "run").tokenizer["characters"]
    assert resume(tmp_path / "run", steps=6).steps == 6
    start(settings, root=tmp_path, out=tmp_path / "new")
    assert "\ufeff" not in RunDirectory.open(tmp_path / "new").tokenizer["characters"]


@pytest.mark.slow
def test_a_task_takes_no_text(tiny, tmp_path):
    task = "delayed-copy(length=12, vocab=4, delay=2)"
    start(tiny(data=task, steps=4, context=12, stop_accuracy=None), root=tmp_path, out=tmp_path / "run")
    assert recorded(tmp_path / "run") is None
    with pytest.raises(UsageError, match=r"learns the task delayed-copy\(.* and reads no text: leave out `data`"):
        resume(tmp_path / "run", steps=6, data="text.txt")


def test_built_in_texts_have_no_path():
    assert text_path("python-stdlib") is None


def test_a_file_with_brackets_in_its_name_is_told_as_a_text(tiny, text, tmp_path, monkeypatch):
    shutil.move(text, tmp_path / "notes (1).txt")
    monkeypatch.chdir(tmp_path)
    start(tiny(data="notes (1).txt", steps=4), root=tmp_path, out=tmp_path / "run")
    (tmp_path / "notes (1).txt").unlink()
    assert "".join(zoo.load_run(tmp_path / "run").generate("def", tokens=3))
    assert task_call("notes (1).txt") is None
    with pytest.raises(UsageError, match=r"the data 'notes \(1\)\.txt' of the run is not there"):
        resume(tmp_path / "run", steps=6)


def test_the_settings_of_a_run_are_portable(elsewhere):
    assert "/" not in json.loads((elsewhere / "config.json").read_text())["data"]
