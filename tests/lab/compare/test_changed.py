"""A comparison whose runs are not all of the same mixer says so."""

import json
from dataclasses import replace

import pytest

from zoo.lab.compare.changed import changed_plugins
from zoo.lab.compare.grid import Grid, GridListener
from zoo.lab.compare.request import Budget
from zoo.lab.compare.session import create_comparison, open_comparison, run_comparison
from zoo.train.run_directory import RunDirectory

from .samples import TINY, request


def made_with(path, *sources, version="1.2", resumed=()):
    """Folders of runs, each with what it recorded of its mixer."""
    for index, source in enumerate(sources):
        run = path / str(index)
        run.mkdir()
        plugin = {"distribution": "acme", "version": version} | ({"source_sha256": source} if source else {})
        RunDirectory(run).write_environment({"plugins": {"mean": plugin}})
        if index in resumed:
            RunDirectory(run).append_event("plugin changed", plugin="mean", how="it changed")
        yield run


@pytest.mark.parametrize(
    ("sources", "resumed", "sentence"),
    [
        (["aa", "aa"], (), None),
        (["aa", None], (), None),  # it may be the same
        ([None, None], (), None),
        (["aa", "bb", "bb"], (), "acme 1.2 (source aa) in 1 run, acme 1.2 (source bb) in 2 runs."),
        (["aa", "bb", None], (), "acme 1.2 (unknown source) in 1 run, acme 1.2 (source aa) in 1 run, "),
        (["aa", "aa"], (1,), "acme 1.2 (source aa) in 2 runs; 1 run resumed after a change."),
    ],
)
def test_which_runs_are_of_which_code(tmp_path, sources, resumed, sentence):
    found = changed_plugins(made_with(tmp_path, *sources, resumed=resumed))
    assert len(found) == (sentence is not None)
    for plugin in found:
        assert str(plugin).startswith(f"mean changed in the course of the comparison: {sentence}")


def test_another_version_counts_without_a_source(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, new = made_with(tmp_path / "old", None, version="1.0"), made_with(tmp_path / "new", None)
    (plugin,) = changed_plugins([*old, *new])
    assert [(code.version, count) for code, count in plugin.runs] == [("1.0", 1), ("1.2", 1)]


def test_a_run_that_is_missing_or_damaged_says_nothing(tmp_path):
    runs = list(made_with(tmp_path, "aa", "bb"))
    (runs[0] / "env.json").write_text("{")
    assert changed_plugins([*runs, tmp_path / "nowhere"]) == ()


class Recorder(GridListener):
    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_comparison_of_changed_code_says_so_wherever_it_is_read(tmp_path):
    asked = request("dot-product", "involution", budget=Budget("steps", 2), settings=TINY | {"warmup": 1})
    plan, folder = create_comparison(asked, root=tmp_path, out=tmp_path / "out")
    assert json.loads((folder.path / "comparison.json").read_text())["plugins"]["involution"]["source_sha256"]
    assert run_comparison(plan, folder).changed == ()
    assert json.loads((folder.path / "results.json").read_text())["changed_plugins"] == []
    one = folder.trial(plan, plan.results(1, plan.only_lr(1))[0])
    environment = RunDirectory(one).environment
    environment["plugins"]["involution"]["source_sha256"] = "00" * 32
    RunDirectory(one).write_environment(environment)
    recorder = Recorder()
    (changed,) = run_comparison(*open_comparison(folder.path), recorder).changed
    assert str(changed).startswith("involution changed in the course of the comparison: mixer-zoo ")
    assert str(changed).count(" in 1 run") == 2
    assert recorder.notices == [f"not all runs are of the same code: {changed}"]
    (saved,) = json.loads((folder.path / "results.json").read_text())["changed_plugins"]
    assert (saved["name"], saved["in_words"], saved["resumed"]) == ("involution", str(changed), 0)
    assert [run["runs"] for run in saved["runs"]] == [1, 1]
    assert str(changed) in (folder.path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_comparison_that_goes_on_with_changed_code_is_told(tmp_path):
    asked = request("dot-product", seeds=1, budget=Budget("steps", 1), settings=TINY | {"warmup": 1})
    plan, folder = create_comparison(asked, root=tmp_path, out=tmp_path / "out")
    before = {"dot-product": plan.plugins["dot-product"] | {"source_sha256": "00" * 32}}
    recorder = Recorder()
    Grid(replace(plan, plugins=before), folder, recorder).run()
    (notice,) = recorder.notices
    assert notice.startswith("dot-product comes from mixer-zoo ")
    assert "whose source code has changed since this began: runs that are made from now on" in notice
