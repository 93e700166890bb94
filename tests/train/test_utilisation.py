import json
import math
from dataclasses import asdict

import pytest
import torch

from zoo.cli.train_display import show_summary
from zoo.data.load import load_source
from zoo.files.logs import row_line
from zoo.plugin.registry import get_registry
from zoo.train import utilisation as module
from zoo.train.engine.ranks import Ranks
from zoo.train.machine import resolve_auto
from zoo.train.report import figures_of
from zoo.train.session import model_for, start
from zoo.train.step import TrainingStep
from zoo.train.summary import summary_from_json
from zoo.train.utilisation import count_step_flops, utilisation

from .test_summary import WHOLE


@pytest.fixture
def step(tiny):
    settings = resolve_auto(tiny(channel_mixer="none", mixer="identity", accumulate=3))
    source = load_source(settings.data, tokenizer="byte", validation_fraction=0.1)
    return TrainingStep(model_for(source, settings, get_registry()).train(), source, settings)


@pytest.fixture
def peak(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "peak_flops", lambda *given, at_least: asked.append((*given, at_least)) or 1e9)
    return asked


def test_operations_counted_by_hand(step):
    forward = 2 * 2 * 16 * 16 * (16 + step.source.vocab_size)  # a projection of each read, and the unembedding
    assert count_step_flops(step) == 3 * 3 * forward
    step.ranks = type("Three", (Ranks,), {"count": 3})()
    assert count_step_flops(step) == 3 * forward


def test_nothing_is_changed_by_the_count(step):
    before = {name: tensor.clone() for name, tensor in step.model.state_dict().items()}
    random = torch.get_rng_state()
    count_step_flops(step)
    assert step.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in step.model.state_dict().items())
    assert all(parameter.grad is None for parameter in step.model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_it_is_the_reached_speed_over_the_peak(step, peak):
    reached = count_step_flops(step) * 100 / 50.0
    assert utilisation(step, steps=100, seconds=50.0) == reached / 1e9
    assert peak == [(torch.device("cpu"), "fp32", reached)]


def test_a_short_run_is_not_worth_it(step, peak):
    assert math.isnan(utilisation(step, steps=100, seconds=29.9))
    assert math.isnan(utilisation(step, steps=0, seconds=60.0))
    assert peak == []


def test_a_model_in_parts_is_not_run_by_one_process(step, peak):
    step.engine.sharded = True
    assert math.isnan(utilisation(step, steps=100, seconds=60.0))
    assert peak == []


def test_nothing_is_lost_where_it_cannot_be_measured(step, monkeypatch):
    def failing(*_given, **_options):
        raise RuntimeError("no memory")

    monkeypatch.setattr(module, "count_flops", failing)
    assert math.isnan(utilisation(step, steps=100, seconds=60.0))
    assert step.model.training


def test_a_long_run_has_it_and_its_results_do_not_depend_on_it(tiny, tmp_path, monkeypatch, peak):
    short = start(tiny(), root=tmp_path, out=tmp_path / "short")
    monkeypatch.setattr(module, "LONG", 0.0)
    long = start(tiny(), root=tmp_path, out=tmp_path / "long")
    assert math.isnan(short.utilisation)
    assert long.utilisation > 0
    assert json.loads((tmp_path / "long/summary.json").read_text())["utilisation"] == long.utilisation
    assert json.loads((tmp_path / "short/summary.json").read_text())["utilisation"] is None
    for name in ("metrics.jsonl", "scores.safetensors", "samples.txt"):
        assert (tmp_path / "long" / name).read_bytes() == (tmp_path / "short" / name).read_bytes()
    assert "utilisation" in (tmp_path / "long/report.html").read_text()
    assert "utilisation" not in (tmp_path / "short/report.html").read_text()
    peak.clear()
    start(tiny(), root=tmp_path, out=tmp_path / "one-of-several", pages=False)
    assert peak == []


def test_it_is_shown_where_it_is_known(capsys, tmp_path):
    values = json.loads(row_line(asdict(WHOLE))) | {"tokens_per_second": 1234.0}
    assert math.isnan(summary_from_json({name: v for name, v in values.items() if name != "utilisation"}).utilisation)
    for known, ending in ((0.234, ", 1,234 tokens/s, 23% of the fastest matrix product"), (None, ", 1,234 tokens/s")):
        summary = summary_from_json(values | {"utilisation": known})
        show_summary(summary, json=False)
        assert f"{ending}\n" in capsys.readouterr().out
        shown = [figure for figure in figures_of(summary) if figure[0] == "utilisation"]
        assert shown == ([("utilisation", "23%", "of the machine's fastest matrix product")] if known else [])
