"""Whichever command runs a broken mixer: one line, with the mixer, its place in the model and the line of its code."""

import itertools
import json

import pytest

from zoo.plugin.pattern import parse

MIXER = """
import os

import torch
from zoo import TokenMixer, hookimpl


class Acme(TokenMixer):
    def __init__(self, dim, fault: str = ""):
        super().__init__()
        self.fault = fault
        self.value = torch.nn.Linear(dim, dim)

    def forward(self, x):
        write, fault = self.value(x), self.fault or os.environ.get("FAULT")
        if fault == "raises":
            raise RuntimeError("not today")
        if fault == "gradient" and x.requires_grad:
            return write * (0 * write).sqrt()
        return {"none": None, "list": [write], "nan": write * float("nan")}.get(fault, write)


@hookimpl
def zoo_mixers():
    return {"acme": Acme}
"""
RAISED, FORWARD = (
    1 + next(number for number, line in enumerate(MIXER.splitlines()) if text in line)
    for text in ("not today", "def forward")
)
FAULTS = {
    "raises": f": RuntimeError: not today, in {{file}}:{RAISED}",
    "none": f": forward returns None: return the write, or a Mixed, in {{file}}:{FORWARD}",
    "list": f": forward returns a list: return the write, or a Mixed, in {{file}}:{FORWARD}",
}
NOT_FINITE = {
    "nan": "The first number that is not finite was written at token 0 of sequence 0 by {who}, in {file}:",
    "gradient": "The first gradient that is not finite is that of value.weight, value.bias, of {who}, in {file}:",
}


@pytest.fixture
def acme(distribution, tmp_path, monkeypatch):
    """Installs the mixer, and says what is to be read of it."""
    distribution("acme-mixers", MIXER)
    monkeypatch.setenv("FAULT", "")
    file = tmp_path / "site" / "acme_mixers.py"

    def words(fault, layer):
        monkeypatch.setenv("FAULT", fault)
        who = f"acme (layer {layer}, part {layer}.acme, from acme-mixers 1.2)"
        return (
            who + FAULTS[fault].format(file=file) if fault in FAULTS else NOT_FINITE[fault].format(who=who, file=file)
        )

    return words


@pytest.fixture
def settings(tiny):
    return [*tiny, "--mixer", "dot-product, acme", "--layers", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_train(zoo, settings, tmp_path, acme, fault):
    expected = acme(fault, layer=1)
    result = zoo("train", *settings, "--out", tmp_path / "run")
    assert (result.code, result.err.splitlines()[-1]) == (4, f"error: {expected}")


@pytest.mark.slow
@pytest.mark.parametrize("fault", NOT_FINITE)
def test_train_with_what_is_not_finite(zoo, settings, tmp_path, acme, fault):
    expected = acme(fault, layer=1)
    result = zoo("train", *settings, "--out", tmp_path / "run")
    last = result.err.splitlines()[-1]
    assert result.code == 1
    assert expected in last
    assert "--lr" not in last
    event = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert (event["event"], event["part"]) == ("not finite", "1.acme")


@pytest.mark.slow
def test_generate_and_inspect(zoo, settings, tmp_path, acme):
    run = tmp_path / "run"
    assert zoo("train", *settings, "--out", run).code == 0
    for fault in FAULTS:
        expected = acme(fault, layer=1)
        for command in (("generate", run, "--tokens", 3), ("inspect", run)):
            result = zoo(*command)
            assert (result.code, result.err.splitlines()[-1]) == (4, f"error: {expected}"), command
    expected = acme("nan", layer=1)
    inspected = zoo("inspect", run, "--json")
    assert inspected.code == 0
    assert json.loads(inspected.out)["loss"] is None
    assert f"the validation loss is not finite. {expected}" in inspected.err
    generated = zoo("generate", run, "--tokens", 3)
    assert generated.code == 1
    assert "the model's prediction of the next token is not finite" in generated.err


@pytest.mark.slow
def test_bench(zoo, tmp_path, acme, monkeypatch):
    for name, value in {"_SECONDS": 1e-4, "_MATRICES": (32,), "_COPIES": (2**12, 2**14)}.items():
        monkeypatch.setattr(f"zoo.lab.bench.machine.{name}", value)
    sizes = ("--lengths", "4,8", "--repeats", "1", "--dim", "16", "--heads", "2", "--out", tmp_path / "bench")
    expected = {fault: acme(fault, layer=0) for fault in (*FAULTS, "nan")}
    patterns = {fault: str(parse(f"acme(fault={fault!r})")) for fault in expected}
    result = zoo("bench", *patterns.values(), *sizes, "--what", "forward,train,decode")
    words = result.out + result.err
    assert result.code == 1
    for fault, kind in itertools.product(FAULTS, ("forward", "train", "decode")):
        assert f"{patterns[fault]}, {kind} at 4, 8: {expected[fault]}" in words
    assert f"{patterns['nan']}: {expected['nan']}" in words


@pytest.mark.slow
def test_compare(zoo, tmp_path, acme):
    sizes = ("--dim", "16", "--heads", "1", "--layers", "1", "--seeds", "1", "--jobs", "1", "--budget", "steps:2")
    data = ("--data", "mqar(vocab=64, pairs=2, length=16)", "--set", "batch=2", "--set", "final_evaluation_tokens=64")
    expected = {fault: acme(fault, layer=0) for fault in (*FAULTS, *NOT_FINITE)}
    patterns = {fault: str(parse(f"acme(fault={fault!r})")) for fault in expected}
    result = zoo("compare", "dot-product", *patterns.values(), *sizes, *data, "--out", tmp_path / "comparison")
    assert result.code == 1
    for fault, line in zip(expected, result.err.splitlines()[-len(expected) :], strict=True):
        assert line.startswith(f"error: {patterns[fault]} on mqar")
        assert expected[fault] in line
