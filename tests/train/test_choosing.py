"""A long run on a CPU with units for bfloat16 measures once whether its model gains by them."""

import json
from functools import partial

import pytest
import torch

from zoo.train import choosing, compiling, machine, session
from zoo.train.checkpoint import load_checkpoint
from zoo.train.choosing import choose_fastest, faster, measure_precisions
from zoo.train.compiling import Timing
from zoo.train.continuing import start_or_resume
from zoo.train.listener import Listener
from zoo.train.machine import resolve_auto
from zoo.train.session import resume, start

FASTER, SLOWER = {"fp32": 0.4, "bf16": 0.3}, {"fp32": 0.4, "bf16": 0.39}


class Hearing(Listener):
    def __init__(self):
        self.heard = []

    def notice(self, text):
        self.heard.append(text)


def unused(*_args, **_options):
    pytest.fail("it was measured")  # no Exception, which would be taken for a measurement that failed


@pytest.fixture
def long(tiny, monkeypatch):
    """Settings of a run that is long enough, on a machine that has the units."""
    monkeypatch.setattr(machine, "bf16_pays", lambda *_: True)
    monkeypatch.setattr(choosing, "bf16_pays", lambda *_: True)
    monkeypatch.setattr(choosing, "SHARE", 0.5)
    return lambda **changes: tiny(**{"precision": "auto", "compile": False} | changes)


def started(settings, folder, listener=None):
    folder.mkdir(exist_ok=True)
    start(settings, root=folder, out=folder / "run", pages=False, listener=listener)
    return json.loads((folder / "run/config.json").read_text())["precision"]


def chosen(settings, source, *, listener=None):
    resolved = resolve_auto(settings)
    build = partial(session.model_for, source, resolved, session.get_registry())
    listener = listener or Listener()
    return choose_fastest(settings, resolved, source, build(), build=build, listener=listener).precision


def test_rounding_must_save_a_twentieth():
    assert faster({"fp32": 1.0, "bf16": 0.94}) == "bf16"
    assert faster({"fp32": 1.0, "bf16": 0.96}) == "fp32"


@pytest.mark.parametrize(("measured", "precision"), [(FASTER, "bf16"), (SLOWER, "fp32")])
def test_it_is_measured_once_and_the_choice_is_part_of_the_settings(long, tmp_path, monkeypatch, measured, precision):
    monkeypatch.setattr(choosing, "measure_precisions", lambda *_: measured)
    hearing = Hearing()
    assert started(long(), tmp_path / "first", hearing) == precision
    assert hearing.heard == [
        f"a step takes 400 ms in fp32 and {1e3 * measured['bf16']:.0f} ms in bf16: the run takes {precision}"
    ]
    monkeypatch.setattr(choosing, "measure_precisions", unused)
    hearing = Hearing()
    assert started(long(seed=1), tmp_path / "second", hearing) == precision
    assert hearing.heard == []
    monkeypatch.setattr(session, "choose_fastest", unused)
    resume(tmp_path / "first/run", steps=long().steps + 1, pages=False)
    start_or_resume(long(steps=long().steps + 2), tmp_path / "first/run", pages=False)
    assert json.loads((tmp_path / "first/run/config.json").read_text())["precision"] == precision


@pytest.mark.parametrize(
    "changes", [{"steps": 15}, {"max_time": 60.0}, {"precision": "bf16"}, {"precision": "fp32"}], ids=str
)
def test_a_short_run_and_one_that_was_told_are_not_measured(long, tmp_path, monkeypatch, changes):
    monkeypatch.setattr(choosing, "measure_precisions", unused)
    assert started(long(**changes), tmp_path / "run") == changes.get("precision", "bf16")


def test_nothing_is_measured_where_the_rule_says_that_bf16_does_not_pay(long, tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "measure_precisions", unused)
    for module in (machine, choosing):
        monkeypatch.setattr(module, "bf16_pays", lambda *_: False)
    assert started(long(), tmp_path / "run") == "fp32"


def test_a_measurement_that_fails_leaves_the_rule_and_is_not_kept(long, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr(choosing, "measure_precisions", fail)
    source = session.source_of(long())
    assert chosen(long(), source) == "bf16"
    assert not list((tmp_path / "cache").rglob("precision/*"))


def test_of_two_runs_that_measure_at_a_time_the_first_decides(long, monkeypatch):
    source = session.source_of(long())

    def overtaken(*_):
        monkeypatch.setattr(choosing, "measure_precisions", lambda *_: SLOWER)
        assert chosen(long(), source) == "fp32"
        return FASTER

    monkeypatch.setattr(choosing, "measure_precisions", overtaken)
    assert chosen(long(), source) == "fp32"


@pytest.mark.parametrize("damage", ["{", "[]", '{"fp32": 1.0}', '{"fp32": 1.0, "bf16": "a"}'])
def test_what_was_kept_and_is_damaged_is_measured_again(long, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(choosing, "measure_precisions", lambda *_: FASTER)
    source = session.source_of(long())
    assert chosen(long(), source) == "bf16"
    (kept,) = (tmp_path / "cache/precision").iterdir()
    kept.write_text(damage)
    hearing = Hearing()
    assert chosen(long(), source, listener=hearing) == "bf16"
    assert len(hearing.heard) == 1


def test_other_shapes_are_measured_by_themselves(long, tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "measure_precisions", lambda *_: FASTER)
    source = session.source_of(long())
    for changes in ({}, {"seed": 3}, {"batch": 3}, {"mixer": "identity"}):
        chosen(long(**changes), source)
    assert len(list((tmp_path / "cache/precision").iterdir())) == 3


def test_steps_are_timed_in_both_precisions(tiny, monkeypatch):
    settings, seen = resolve_auto(tiny()), []
    source = session.source_of(settings)
    run = choosing.TrainingStep.__call__
    monkeypatch.setattr(
        choosing.TrainingStep, "__call__", lambda step, at: (seen.append(step.settings.precision), run(step, at))[1]
    )
    measured = measure_precisions(
        settings, source, partial(session.model_for, source, settings, session.get_registry())
    )
    assert measured.keys() == {"fp32", "bf16"}
    assert min(measured.values()) > 0
    assert seen == ["fp32", "bf16"] * (1 + choosing.TIMED)


def test_one_measurement_answers_for_compilation_too(long, tmp_path, monkeypatch):
    known = []
    monkeypatch.setattr(choosing, "measure_precisions", lambda *_: FASTER)
    monkeypatch.setattr(compiling, "WORTH", 0.0)
    monkeypatch.setattr(compiling, "find_compiler", lambda _: "c++")

    def measure(settings, _source, _build, plain):
        known.append((settings.precision, plain))
        return Timing(0.3, 0.4, 0.0)

    monkeypatch.setattr(compiling, "measure", measure)
    assert started(long(compile="auto"), tmp_path / "run") == "bf16"
    assert known == [("bf16", 0.3)]


def test_a_comparison_does_not_measure(long, tmp_path, monkeypatch):
    from zoo.lab.compare import trial
    from zoo.train.interrupts import Interrupts

    monkeypatch.setattr(choosing, "measure_precisions", unused)
    trial._bring_to_its_end(tmp_path / "run", long(), Listener(), Interrupts(lambda: None), None)
    assert json.loads((tmp_path / "run/config.json").read_text())["precision"] == "bf16"


@pytest.mark.slow
def test_a_measurement_leaves_no_trace_in_the_weights(long, tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "faster", lambda _: "fp32")
    weights = []
    for precision in ("auto", "fp32"):
        assert started(long(precision=precision), tmp_path / precision) == "fp32"
        weights.append(load_checkpoint(tmp_path / precision / "run/checkpoints").tensors["model"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
