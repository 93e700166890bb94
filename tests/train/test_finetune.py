"""A run that starts from the weights of another one."""

import json
import shutil
from functools import partial

import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.plugin.registry import get_registry
from zoo.train.checkpoint import load_checkpoint
from zoo.train.continuing import start_or_resume
from zoo.train.finetune import read_origin, settings_from
from zoo.train.interrupts import Interrupts
from zoo.train.listener import Listener
from zoo.train.session import Interrupted, resume, start

from .ranks import run as run_ranks


@pytest.fixture
def first(tiny, tmp_path):
    start(tiny(tokenizer="char", keep_checkpoints=9, ema=0.5), root=tmp_path, out=tmp_path / "first", pages=False)
    return tmp_path / "first"


@pytest.fixture
def other(tmp_path):
    """A text with fewer characters than the first one, in another order."""
    path = tmp_path / "other.txt"
    path.write_text("return x * 12\n" * 200)
    return str(path)


def start_from(path, out, *, ranks=None, ema=False, listener=None, interrupts=None, **given):
    settings, origin = settings_from(path, (), given), read_origin(path, get_registry(), ema=ema)
    how = {"listener": listener, "interrupts": interrupts, "pages": False, "ranks": ranks}
    return start(settings, root=out.parent, out=out, origin=origin, **how)


def tensors_of(path, step=None):
    return load_checkpoint(path / "checkpoints", up_to=step).tensors


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_it_starts_with_the_weights_a_new_optimizer_and_the_tokens_of_the_other(first, other, tmp_path):
    start_from(first, tmp_path / "second", data=other, lr=1e-4)
    before, after = tensors_of(first), tensors_of(tmp_path / "second", step=0)
    assert same(after["model"], before["model"])
    assert not any("exp_avg" in name and value.any() for name, value in after["optimizer"].items())
    assert not same(tensors_of(tmp_path / "second")["model"], before["model"])
    assert json.loads((tmp_path / "second/tokenizer.json").read_text()) == json.loads(
        (first / "tokenizer.json").read_text()
    )
    environment = json.loads((tmp_path / "second/env.json").read_text())
    assert environment["from"] == {"run": str(first), "step": 20}
    assert zoo.load_run(tmp_path / "second").sample("return", tokens=4)


def test_the_settings_are_those_of_the_other_but_for_what_is_given(first, other):
    settings, saved = (
        settings_from(first, ["batch=3"], {"data": other, "lr": 1e-4}),
        json.loads((first / "config.json").read_text()),
    )
    changed = {name for name, value in settings.model_dump().items() if value != saved[name]}
    assert changed <= {"batch", "data", "lr", "engine", "device", "precision", "threads"}
    assert (settings.batch, settings.data, settings.lr) == (3, other, 1e-4)


@pytest.mark.parametrize("steps", [1, 12])
def test_it_is_resumed_without_the_other_run(first, other, tmp_path, steps):
    class Stops(Listener):
        def progress(self, progress):
            interrupts.requested = progress.step >= steps

    interrupts = Interrupts()
    start_from(first, tmp_path / "whole", data=other)
    with pytest.raises(Interrupted):
        start_from(first, tmp_path / "cut", data=other, listener=Stops(), interrupts=interrupts)
    shutil.rmtree(first)
    resume(tmp_path / "cut", pages=False)
    for stem in ("model", "optimizer"):
        assert same(tensors_of(tmp_path / "cut")[stem], tensors_of(tmp_path / "whole")[stem])
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_the_same_call_starts_it_and_goes_on_with_it(first, other, tmp_path):
    settings, origin = settings_from(first, (), {"data": other}), read_origin(first, get_registry())
    begin = partial(start_or_resume, out=tmp_path / "second", pages=False, origin=origin)
    begin(settings)
    assert begin(settings.model_copy(update={"steps": 25})).steps == 25
    assert same(tensors_of(tmp_path / "second", step=0)["model"], tensors_of(first)["model"])
    events = (tmp_path / "second/events.jsonl").read_text()
    assert events.count('"event": "started"') == events.count('"event": "resumed"') == 1


def test_it_may_start_from_the_average(first, tmp_path):
    start_from(first, tmp_path / "second", ema=True)
    average = tensors_of(first)["ema"]
    assert same({name: tensors_of(tmp_path / "second", step=0)["model"][name] for name in average}, average)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_ranks_start_as_one_process_does(first, other, tmp_path):
    start_from(first, tmp_path / "one", data=other, accumulate=2)
    both = partial(start_from, first, tmp_path / "two", data=other, accumulate=2)
    assert run_ranks(2, lambda ranks: both(ranks=ranks)) == [0, 0]
    assert same(tensors_of(tmp_path / "two")["model"], tensors_of(tmp_path / "one")["model"])


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"dim": 32}, "^a run takes over the model and its tokens with the weights: leave out `dim`$"),
        ({"tokenizer": "byte"}, "leave out `tokenizer`$"),
        ({"data": "parity(length=16)"}, r"first learned a text, and `data`=parity\(length=16\) is a task or tokens$"),
        ({"lr": -1.0}, r"^lr=-1\.0 should be greater than 0$"),
    ],
)
def test_what_cannot_be_is_refused(first, tmp_path, given, error):
    with pytest.raises(UsageError, match=error):
        start_from(first, tmp_path / "second", **given)
    assert not (tmp_path / "second").exists()


def test_characters_that_the_other_did_not_know_are_refused(first, tmp_path):
    (tmp_path / "new.txt").write_text("ü" * 500)
    with pytest.raises(UsageError, match="characters outside of the vocabulary"):
        start_from(first, tmp_path / "second", data=str(tmp_path / "new.txt"))


@pytest.mark.slow
def test_tasks_start_from_tasks_of_the_same_vocabulary(tiny, tmp_path):
    task = "mqar(pairs=2, length=16, vocab=32)"
    start(tiny(data=task), root=tmp_path, out=tmp_path / "task", pages=False)
    start_from(tmp_path / "task", tmp_path / "again", data="mqar(pairs=3, length=16, vocab=32)")
    with pytest.raises(UsageError, match=r"has 64 tokens, and .*task was trained with 32: choose data of the same"):
        start_from(tmp_path / "task", tmp_path / "more", data="mqar(pairs=2, length=16, vocab=64)")


def test_a_run_without_an_average_has_none_to_start_from(tiny, tmp_path):
    start(tiny(), root=tmp_path, out=tmp_path / "plain", pages=False)
    with pytest.raises(UsageError, match=r"plain kept no average of its weights: leave out `ema`$"):
        read_origin(tmp_path / "plain", get_registry(), ema=True)
