"""Runs with every optimizer: what is trained, saved and gone on with."""

import json
import signal

import pytest
import torch

from zoo.optimizers.plugin import zoo_optimizers
from zoo.train.checkpoint import load_checkpoint
from zoo.train.listener import Listener
from zoo.train.run_directory import RunDirectory
from zoo.train.session import Interrupted, resume, start


class StopAt(Listener):
    def __init__(self, step):
        self.stop_at = step

    def progress(self, progress):
        if progress.step == self.stop_at:
            signal.raise_signal(signal.SIGINT)


def outcome(path):
    """The weights, the state of the optimizer and the metrics at the end, byte for byte."""
    last = load_checkpoint(path / "checkpoints").path
    files = [last / "model.safetensors", last / "optimizer.safetensors", path / "metrics.jsonl"]
    return [file.read_bytes() for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*zoo_optimizers(), "adagrad(lr_decay=0.1)"])
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(name, tiny, tmp_path, registered):
    registered("adagrad", torch.optim.Adagrad)  # any class of torch.optim will do
    settings = tiny(optimizer=name, steps=12)
    start(settings, root=tmp_path, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(settings, root=tmp_path, out=tmp_path / "cut", listener=StopAt(7))
    resume(tmp_path / "cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_every_optimizer_trains_in_its_own_way(tiny, tmp_path):
    weights = set()
    for name in zoo_optimizers():
        start(tiny(optimizer=name, steps=2), root=tmp_path, out=tmp_path / name)
        weights.add(outcome(tmp_path / name)[0])
    assert len(weights) == len(zoo_optimizers())


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on_exactly(tiny, tmp_path):
    """Its averages were settings, and the optimizer was none."""
    start(tiny(optimizer="adamw(beta2=0.9)"), root=tmp_path, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(tiny(optimizer="adamw(beta2=0.9)"), root=tmp_path, out=tmp_path / "cut", listener=StopAt(7))
    config = tmp_path / "cut" / "config.json"
    values = json.loads(config.read_text())
    del values["optimizer"]
    config.write_text(json.dumps(values | {"beta1": 0.9, "beta2": 0.9}))
    (tmp_path / "cut" / "manifest.json").unlink()
    resume(tmp_path / "cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    assert RunDirectory.open(tmp_path / "cut").config["optimizer"] == "adamw(beta1=0.9, beta2=0.9)"
