"""A mixer whose source code changes under the same version is noticed when its run goes on or is loaded."""

import json
import shutil
import sys

import pytest

import zoo
from zoo.errors import PluginError
from zoo.plugin.registry import forget
from zoo.train.listener import Listener
from zoo.train.plugins import check_plugins, plugins_of
from zoo.train.run_directory import RunDirectory
from zoo.train.session import resume, start
from zoo.train.settings import Settings

from ..distributions import install  # noqa: TID252 - pytest finds the parts of the tests by where they are

SOURCE = """
from scaling_ops import FACTOR
from zoo import Task, TokenMixer, hookimpl

class Scaled(TokenMixer):
    "Each token writes its read."

    def forward(self, x):
        return 1.0 * x

@hookimpl
def zoo_mixers():
    return {"scaled": Scaled}
"""
CHANGED = "scaled comes from scaling 1.2, whose source code has changed since this began"


class Scaling:
    """An installed plugin that can be edited, as in a development install."""

    def __init__(self, site):
        self.site = site
        (site / "scaling_ops.py").write_text("FACTOR = 1\n")
        install(site, "scaling", SOURCE)

    def edit(self, old="1.0 * x", new="2.0 * x"):
        path = self.site / "scaling.py"
        path.write_text(path.read_text().replace(old, new))
        self.restart()

    def restart(self):
        """What another process does: import everything anew."""
        shutil.rmtree(self.site / "__pycache__", ignore_errors=True)
        sys.modules.pop("scaling", None)
        forget()


@pytest.fixture
def scaling(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("ZOO_PLUGINS", "scaling")
    forget()
    yield Scaling(site)
    for name in ("scaling", "scaling_ops"):
        sys.modules.pop(name, None)
    forget()


class Recorder(Listener):
    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


@pytest.fixture
def run(scaling, tiny, tmp_path):
    start(tiny(mixer="scaled, dot-product", layers=2, steps=2), pages=False, root=tmp_path, out=tmp_path / "run")
    return tmp_path / "run"


def recorded_as(run, **changes):
    """Rewrite what a run recorded of the mixer; None removes it, as runs of before have it."""
    directory = RunDirectory.open(run)
    environment = directory.environment
    plugin = environment["plugins"]["scaled"] | changes
    environment["plugins"]["scaled"] = {name: value for name, value in plugin.items() if value is not None}
    directory.write_environment(environment)


@pytest.mark.slow
def test_a_run_records_the_source_of_its_mixers(run):
    plugins = json.loads((run / "env.json").read_text())["plugins"]
    assert {name: plugin["distribution"] for name, plugin in plugins.items()} == {
        "channel-mixer:swiglu": "mixer-zoo",
        "dot-product": "mixer-zoo",
        "optimizer:adamw": "mixer-zoo",
        "residual:pre-norm": "mixer-zoo",
        "scaled": "scaling",
        "tokenizer:byte": "mixer-zoo",
    }
    assert len({plugin["source_sha256"] for plugin in plugins.values()}) == 6


@pytest.mark.slow
def test_resuming_with_changed_code_is_told_and_goes_on(run, scaling):
    scaling.edit()
    recorder = Recorder()
    summary = resume(run, steps=3, listener=recorder, pages=False)
    assert summary.steps == 3
    assert recorder.notices == [CHANGED]
    events = [event for event in RunDirectory.open(run).events() if event["event"] == "plugin changed"]
    assert [(event["plugin"], event["how"]) for event in events] == [("scaled", CHANGED)]


@pytest.mark.slow
def test_loading_a_run_with_changed_code_is_told(run, scaling):
    scaling.edit()
    assert zoo.load_run(run).warnings == (CHANGED,)


@pytest.mark.slow
def test_unchanged_code_and_code_that_was_not_recorded_are_not_told(run, scaling):
    scaling.restart()
    assert zoo.load_run(run).warnings == ()
    scaling.edit()
    recorded_as(run, source_sha256=None)
    recorder = Recorder()
    resume(run, steps=3, listener=recorder, pages=False)
    assert recorder.notices == []
    assert zoo.load_run(run).warnings == ()


def test_another_version_is_told_once(run, scaling):
    recorded_as(run, version="1.0", source_sha256="ab")
    told = "scaled comes from scaling 1.2, and came from 1.0 when this began"
    assert zoo.load_run(run).warnings == (told,)


def test_a_task_is_looked_for_among_tasks(scaling):
    recorded = plugins_of(Settings(mixer="dot-product", data="mqar(vocab=64, pairs=2, length=16)"))
    assert list(recorded) == [
        "channel-mixer:swiglu",
        "dot-product",
        "optimizer:adamw",
        "residual:pre-norm",
        "task:mqar",
    ]
    assert check_plugins(recorded) == {}
    other = {"task:mqar": recorded["task:mqar"] | {"source_sha256": "ab"}}
    version = recorded["task:mqar"]["version"]
    changed = f"mqar comes from mixer-zoo {version}, whose source code has changed since this began"
    assert check_plugins(other) == {"task:mqar": changed}
    with pytest.raises(PluginError, match="pip install acme"):
        check_plugins({"mean": {"distribution": "acme", "version": "1"}})


def test_a_token_mixer_in_the_place_of_a_channel_mixer_is_recorded(scaling, tiny):
    assert scaling.site.exists()
    others = {"optimizer:adamw", "residual:pre-norm", "tokenizer:byte"}
    for settings in (tiny(channel_mixer="scaled"), tiny(mixer="dot-product/scaled")):
        assert set(plugins_of(settings)) == {"dot-product", "scaled"} | others
    assert (
        set(plugins_of(tiny(mixer="dot-product/mlp", channel_mixer="scaled")))
        == {"channel-mixer:mlp", "dot-product"} | others
    )
