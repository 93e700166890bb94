import math

import pytest
import torch
from torch import nn

from zoo.train.optimizer import decay_begins, learning_rate, load_optimizer_tensors, make_optimizer, optimizer_tensors
from zoo.train.settings import Settings


def test_the_learning_rate_warms_up_to_its_height_and_falls_to_its_end():
    settings = Settings(steps=100, warmup=10, lr=1.0, lr_final=0.1)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[99] == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_runs_shorter_than_the_warm_up_have_a_learning_rate_too(steps):
    rates = [learning_rate(Settings(steps=steps, warmup=100, lr=1.0), step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_warm_up_stable_decay():
    """Of 100 steps: 10 of warm-up, the highest rate up to the 80th, then one minus a square root down to the end."""
    settings = Settings(steps=100, warmup=10, lr=1.0, lr_final=0.1, schedule="wsd", decay=0.2)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert decay_begins(settings) == 80
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == pytest.approx([0.1 + 0.9 * (1 - math.sqrt(k / 20)) for k in range(1, 21)])
    assert rates[99] == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [0, 10, 300])
@pytest.mark.parametrize("longer", [101, 150, 1000])
def test_up_to_the_decay_the_rate_does_not_depend_on_the_number_of_steps(warmup, longer):
    short, long = (Settings(steps=steps, warmup=warmup, schedule="wsd", decay=0.3) for steps in (100, longer))
    begin = decay_begins(short)
    assert begin == 70
    assert [learning_rate(short, step) for step in range(begin)] == [learning_rate(long, step) for step in range(begin)]


def test_a_constant_rate():
    settings = Settings(steps=50, warmup=3, lr=0.5, lr_final=0.0, schedule="constant")
    assert [learning_rate(settings, step) for step in (0, 2, 3, 49, 10_000)] == [0.125, 0.375, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_every_step_of_a_short_run_has_a_rate_under_every_schedule(schedule, steps):
    for warmup in (0, 2, 100):
        settings = Settings(steps=steps, warmup=warmup, lr=1.0, lr_final=0.0, schedule=schedule)
        rates = [learning_rate(settings, step) for step in range(steps)]
        assert all(0 <= rate <= 1 for rate in rates)
        assert rates[0] > 0 or steps == 1


def test_only_matrices_are_decayed():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    decayed, others = make_optimizer(model, Settings(weight_decay=0.3, device="cpu")).param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 4)]
    assert len(others["params"]) == 3
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)


def test_the_state_goes_through_named_tensors_and_back():
    torch.manual_seed(0)
    models = [nn.Linear(3, 2) for _ in range(2)]
    optimizers = [make_optimizer(model, Settings(device="cpu")) for model in models]
    step(models[0], optimizers[0])
    models[1].load_state_dict(models[0].state_dict())
    load_optimizer_tensors(models[1], optimizers[1], optimizer_tensors(models[0], optimizers[0]))
    for model, optimizer in zip(models, optimizers, strict=True):
        step(model, optimizer)
    assert torch.equal(models[0].weight, models[1].weight)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
