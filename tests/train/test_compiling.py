"""Whether compiling pays is measured before a long run, once, and is part of its settings then."""

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch

from zoo.train import compiling, session
from zoo.train.checkpoint import load_checkpoint
from zoo.train.compiling import Timing, compile_pays, measure
from zoo.train.listener import Listener
from zoo.train.machine import resolve_auto
from zoo.train.session import resume, start


@pytest.fixture
def source_of_text(tiny):
    return session.source_of(tiny())


@pytest.fixture
def _long(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "WORTH", 0.0)
    monkeypatch.setattr(compiling, "find_compiler", lambda _: "c++")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


class Hearing(Listener):
    def __init__(self):
        self.heard = []

    def notice(self, text):
        self.heard.append(text)


def unused(*_args, **_options):
    raise AssertionError("it was measured")


def started(settings, folder, listener=None):
    start(settings, root=folder, out=folder / "run", pages=False, listener=listener)
    return json.loads((folder / "run/config.json").read_text())["compile"]


def test_what_is_saved_must_outweigh_compilation():
    assert Timing(0.5, 0.4, compiling=60.0).pays(601)
    assert not Timing(0.5, 0.4, compiling=60.0).pays(599)
    assert not Timing(0.4, 0.5, compiling=0.0).pays(10**9)
    assert not Timing(0.4, math.inf, compiling=0.0).pays(10**9)


def test_a_short_run_is_not_measured(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "measure", unused)
    assert tiny().compile == "auto"
    assert started(tiny(), tmp_path) is False


@pytest.mark.usefixtures("_long")
@pytest.mark.parametrize("compiled", [0.001, 0.5])
def test_a_long_one_is_measured_once_and_the_choice_is_part_of_its_settings(tiny, tmp_path, monkeypatch, compiled):
    monkeypatch.setattr(compiling, "measure", lambda *_: Timing(0.4, compiled, 0.0))
    monkeypatch.setattr(torch, "compile", lambda model: model)
    first, second = Hearing(), Hearing()
    pays = compiled < 0.4
    assert started(tiny(), tmp_path, first) is pays
    assert "measuring" in first.heard[0]
    assert first.heard[1].endswith("the model is compiled" if pays else "the model is not compiled")
    monkeypatch.setattr(compiling, "measure", unused)
    (tmp_path / "again").mkdir()
    assert started(tiny(), tmp_path / "again", second) is pays
    assert len(second.heard) == 1
    monkeypatch.setattr(session, "choose_fastest", unused)
    resume(tmp_path / "run", steps=tiny().steps + 1, pages=False)


@pytest.mark.slow
@pytest.mark.usefixtures("_long")
def test_a_measurement_leaves_no_trace_in_the_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(Timing, "pays", lambda *_: False)
    weights = []
    for asked in ("auto", False):
        folder = tmp_path / str(asked)
        folder.mkdir()
        assert started(tiny(compile=asked, dropout=0.1), folder) is False
        weights.append(load_checkpoint(folder / "run/checkpoints").tensors["model"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.usefixtures("_long")
def test_what_was_asked_for_is_not_measured(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "measure", unused)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    for asked in (False, True):
        (tmp_path / str(asked)).mkdir()
        assert started(tiny(compile=asked), tmp_path / str(asked)) is asked


@pytest.mark.usefixtures("_long")
def test_without_a_compiler_it_is_not_measured(tiny, source_of_text, monkeypatch):
    monkeypatch.setattr(compiling, "find_compiler", lambda _: None)
    assert not compile_pays(resolve_auto(tiny()), source_of_text, unused, unused, Listener())


def test_plain_and_compiled_steps_are_timed(tiny, source_of_text, monkeypatch):
    settings, compiled = resolve_auto(tiny()), []

    def keep(model):
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", keep)
    build = partial(session.model_for, source_of_text, settings, session.get_registry())
    timing = measure(settings, source_of_text, build)
    assert len(compiled) == 1
    assert 0 < timing.compiled < math.inf
    assert timing.plain > 0


def test_a_model_that_cannot_be_compiled_is_taken_as_it_is(tiny, source_of_text, monkeypatch, tmp_path):
    def fail(_):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(torch, "compile", fail)
    settings = resolve_auto(tiny())
    build = partial(session.model_for, source_of_text, settings, session.get_registry())
    assert measure(settings, source_of_text, build).compiled == math.inf
    with monkeypatch.context() as patch:
        patch.setattr(compiling, "WORTH", 0.0)
        patch.setattr(compiling, "find_compiler", lambda _: "c++")
        patch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
        hearing = Hearing()
        assert not compile_pays(settings, source_of_text, build(), build, hearing)
    assert "it cannot be compiled: the model is not compiled" in hearing.heard[1]


@pytest.mark.usefixtures("_long")
def test_a_memory_that_is_damaged_or_cannot_be_written_is_measured_again(tiny, source_of_text, monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "measure", lambda *_: Timing(0.4, 0.3, 0.0))
    settings = resolve_auto(tiny())
    build = partial(session.model_for, source_of_text, settings, session.get_registry())
    for _ in range(2):
        hearing = Hearing()
        assert compile_pays(settings, source_of_text, build(), build, hearing)
        assert "measuring" in hearing.heard[0]
        (kept,) = (tmp_path / "cache/compiling").iterdir()
        kept.write_text("{")
    monkeypatch.setenv("ZOO_CACHE", str(kept))
    assert compile_pays(settings, source_of_text, build(), build, Hearing())
    assert Path(kept).is_file()
