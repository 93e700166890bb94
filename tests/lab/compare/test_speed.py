"""The step that a budget of seconds is divided by is the step that the trainer makes."""

import time
from collections import Counter
from typing import ClassVar

import pytest
import torch

from zoo import Mixed, TokenMixer
from zoo.lab.compare import speed
from zoo.lab.compare.speed import measure_step_seconds
from zoo.plugin.catalogue import Entry, Origin, Plugin
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import Registry, get_registry
from zoo.train.find_data import source_of
from zoo.train.settings import Settings
from zoo.train.step import TrainingStep

from .samples import COPY, TINY

BUILT_IN = [plugin for plugin in get_registry().plugins if not plugin.of(MIXER)]

SECONDS = 0.03
STEPS = 12


class Busy(TokenMixer):
    """Takes its time after each update, and counts what it is asked."""

    asked: ClassVar[Counter] = Counter()

    def forward(self, x):
        self.asked[f"forward on {torch.get_num_threads()} threads"] += 1
        return Mixed(x, metrics={"rows": torch.tensor(x.shape[0])})

    def after_update(self, metrics):
        self.asked["after_update"] += 1
        self.asked["rows"] += int(metrics["rows"])
        time.sleep(SECONDS)


@pytest.fixture
def settings(monkeypatch):
    origin = Origin("tests", "1.0", "busy")
    registry = Registry([*BUILT_IN, Plugin(origin, (Entry("busy", Busy, origin),))])
    monkeypatch.setattr(speed, "get_registry", lambda: registry)
    monkeypatch.setattr(Busy, "asked", Counter())
    return Settings(**TINY, mixer="busy", data=COPY, context=12, threads=1)


def test_what_a_mixer_does_after_an_update_counts(settings):
    assert measure_step_seconds(settings, source_of(settings)) > SECONDS
    assert Busy.asked == {"forward on 1 threads": STEPS, "after_update": STEPS, "rows": STEPS * settings.batch}


@pytest.mark.slow
def test_micro_batches_and_recomputed_layers_count(settings):
    changed = settings.model_copy(update={"accumulate": 2, "activation_checkpointing": True})
    measure_step_seconds(changed, source_of(changed))
    assert Busy.asked["forward on 1 threads"] == 2 * 2 * STEPS
    assert Busy.asked["rows"] == 2 * STEPS * settings.batch


@pytest.mark.slow
def test_the_compiled_model_is_timed(settings, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    measure_step_seconds(settings, source_of(settings))
    assert not compiled
    measure_step_seconds(settings.model_copy(update={"compile": True}), source_of(settings))
    assert len(compiled) == 1


def test_it_is_the_step_of_the_trainer(settings, monkeypatch):
    made, step = [], TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", lambda self, number: made.append(number) or step(self, number))
    measure_step_seconds(settings, source_of(settings))
    assert made == list(range(STEPS))


def test_threads_are_put_back_when_a_step_fails(settings, monkeypatch):
    def fail(self, x):
        raise RuntimeError("no")

    monkeypatch.setattr(Busy, "forward", fail)
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="no"):
            measure_step_seconds(settings, source_of(settings))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
