"""The average of the weights: what it is, that a run keeps it whatever happens, and that it changes nothing else."""

import json
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import zoo
from zoo.errors import UsageError
from zoo.train.average import Average
from zoo.train.checkpoint import load_checkpoint
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.plan import make_plan
from zoo.train.session import Interrupted, resume, start


def test_it_is_the_average_that_the_equation_says():
    model = nn.Linear(3, 2, dtype=torch.float64)
    model.bias.requires_grad_(requires_grad=False)
    average, expected = Average(model, 0.5), model.weight.detach().clone()
    assert list(average.tensors) == ["weight"]
    for step in range(1, 40):
        with torch.no_grad():
            model.weight.normal_()
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    assert_close(average.tensors["weight"], expected)


def test_in_its_place_the_model_has_the_average_and_afterwards_its_weights():
    model = nn.Linear(3, 2)
    average, weights = Average(model, 0.9), model.weight.detach().clone()
    average.tensors["weight"].fill_(7)

    def fail():
        assert (model.weight == 7).all()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), average.in_place():
        fail()
    assert torch.equal(model.weight, weights)
    assert (average.tensors["weight"] == 7).all()


def test_one_of_another_model_is_refused():
    average = Average(nn.Linear(3, 2), 0.9)
    with pytest.raises(RuntimeError, match="of the average of the weights: bias"):
        average.load({"weight": torch.zeros(2, 3)})


@pytest.fixture
def run(tiny, tmp_path):
    def made(name, **settings):
        start(tiny(**settings), root=tmp_path, out=tmp_path / name, pages=False)
        return tmp_path / name

    return made


def rows(run, *, but="ema"):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith(but)} for line in lines]


def test_a_run_that_keeps_one_is_the_same_run(run):
    kept, plain = run("kept", ema=0.9), run("plain")
    assert rows(kept) == rows(plain)
    tensors, others = (load_checkpoint(path / "checkpoints").tensors for path in (kept, plain))
    assert set(tensors) == {"model", "optimizer", "ema"}
    assert set(others) == {"model", "optimizer"}
    assert all(torch.equal(value, others["model"][name]) for name, value in tensors["model"].items())


def test_its_loss_is_that_of_the_model_with_the_average(run):
    path = run("kept", ema=0.9)
    summary = json.loads((path / "summary.json").read_text())
    last = rows(path, but="?")[-1]
    assert summary["ema_validation_loss"] == last["ema_validation_loss"] != summary["validation_loss"]
    loaded, plain = zoo.load_run(path, ema=True), zoo.load_run(path)
    saved = load_checkpoint(path / "checkpoints").tensors
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in saved["ema"].items())
    assert not torch.equal(state["embedding.weight"], plain.model.state_dict()["embedding.weight"])


@pytest.mark.parametrize("steps", [4, 11])
def test_an_interrupted_run_ends_with_the_average_of_one_that_was_not(run, tiny, tmp_path, steps):
    class Stops(Listener):
        def progress(self, progress):
            interrupts.requested = progress.step >= steps

    whole, interrupts = run("whole", ema=0.9), Interrupts()
    with pytest.raises(Interrupted):
        start(tiny(ema=0.9), root=tmp_path, out=tmp_path / "cut", pages=False, listener=Stops(), interrupts=interrupts)
    resume(tmp_path / "cut", pages=False)
    assert rows(tmp_path / "cut", but="?") == rows(whole, but="?")
    ours, theirs = (load_checkpoint(path / "checkpoints").tensors["ema"] for path in (tmp_path / "cut", whole))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_run_without_one_has_none_to_load(run):
    path = run("plain")
    assert math.isnan(zoo.train.summary.read_summary(path).ema_validation_loss)
    with pytest.raises(UsageError, match=r"plain kept no average of its weights: train with the setting `ema`"):
        zoo.load_run(path, ema=True)


def test_the_memory_of_it_is_in_the_plan(tiny):
    kept, plain = make_plan(tiny(ema=0.9)).memory, make_plan(tiny()).memory
    assert kept.optimizer == plain.optimizer + plain.parameters


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5])
def test_a_decay_that_is_none_is_refused(tiny, value):
    with pytest.raises(ValueError, match="ema"):
        tiny(ema=value)
