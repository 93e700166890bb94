"""A model that was built without memory and drawn later begins as one that was built with it."""

import math

import pytest
import torch
from torch import nn

from zoo import build_model
from zoo.model.parameters import reinitialize
from zoo.plugin.kinds import MIXER
from zoo.plugin.registry import get_registry

VOCABULARY, SIGMAS, FEW = 256, 5, 8
EVERYDAY = ("correlation", "involution", "leviathan-moe", "gla", "kda", "mamba2", "rwkv7", "slstm")
CAUSAL = [entry.name for entry in get_registry()[MIXER].list() if entry.cls.causal]
PATTERNS = [
    *(pytest.param(f"{name}/mlp", marks=[] if name in EVERYDAY else [pytest.mark.slow]) for name in CAUSAL),
    *(f"dot-product/{name}" for name in ("swiglu", "mlp", "none")),
]


def build(pattern):
    return build_model(pattern, vocab_size=VOCABULARY, dim=64, layers=2, context=32, positions="learned")


def built_late(pattern):
    with torch.device("meta"):
        model = build(pattern)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.fill_(torch.nan if value.is_floating_point() else -1)
    reinitialize(model, seed=3)
    return model


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_parameter_and_buffer_has_the_statistics_of_an_ordinary_build(pattern):
    torch.manual_seed(2)
    expected, late = build(pattern).state_dict(), built_late(pattern).state_dict()
    for name, value in expected.items():
        again, count = late[name], value.numel()
        if not value.is_floating_point() or value.numel() < 2 or value.std() == 0:
            assert torch.equal(again, value), name
            continue
        if count < FEW:  # their own deviation says too little of where they were drawn from
            assert again.isfinite().all(), name
            continue
        deviation = float(value.std())
        assert float(again.std()) == pytest.approx(deviation, rel=SIGMAS / count**0.5), name
        assert abs(float(again.mean() - value.mean())) < SIGMAS * deviation * (2 / count) ** 0.5, name


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_first_loss_is_that_of_guessing(pattern):
    tokens = torch.randint(VOCABULARY, (4, 32), generator=torch.Generator().manual_seed(0))
    loss = built_late(pattern)(tokens[:, :-1], tokens[:, 1:]).loss
    assert loss.item() == pytest.approx(math.log(VOCABULARY), abs=0.1)


class Parent(nn.Module):
    """Gives two children weights of its own; both are of one class, and one is shared."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Child(), Child()
        self.again = self.first
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.constant_(self.first.weight, 2.0)


class Child(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.resets = nn.Parameter(torch.empty(3)), 0
        self.reset_parameters()

    def reset_parameters(self):
        self.resets += 1
        nn.init.constant_(self.weight, 1.0)


def test_a_module_is_reset_after_its_children_and_once():
    parent = nn.Sequential(Parent())
    reinitialize(parent, seed=0)
    assert parent[0].first.weight.tolist() == [2.0] * 3
    assert parent[0].second.weight.tolist() == [1.0] * 3
    assert (parent[0].first.resets, parent[0].second.resets) == (2, 2)
