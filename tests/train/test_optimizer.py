import pytest
import torch
from torch import nn

from zoo.train.optimizer import learning_rate, load_optimizer_tensors, make_optimizer, optimizer_tensors
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
