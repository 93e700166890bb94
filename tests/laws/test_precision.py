"""What half precision may throw off: as much as the mixer's parameters in their last place do."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.testing import check_mixer
from zoo.testing.laws import numerics

from .control import Control


class RoutesInEachRound(Control):
    """In each of twelve rounds a token goes through one of two layers: close choices add up over the depth."""

    def __init__(self, dim):
        super().__init__()
        self.rounds = nn.ModuleList(nn.ModuleDict({name: nn.Linear(dim, dim) for name in "abc"}) for _ in range(12))

    def forward(self, x):
        stream = x
        for each in self.rounds:
            logit = (4 * each["c"](stream)).sin().sum(-1, keepdim=True)
            taken = torch.where(logit > 0, each["a"](stream), each["b"](stream))
            stream = F.rms_norm(stream + 4 * logit.abs().sigmoid() * taken, stream.shape[-1:])
        return stream


class RoundsItsReads(RoutesInEachRound):
    """The same of reads that are rounded to halves, except in float64."""

    def forward(self, x):
        return super().forward(x if x.dtype == torch.float64 else (2 * x).round() / 2)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["precision", "autocast"])
def test_choices_that_float64_does_not_make_surely_either_may_fall_otherwise(law, monkeypatch):
    (kept,) = check_mixer(RoutesInEachRound, only=[law])
    assert kept.status == "passed"
    monkeypatch.setattr(numerics, "_blurred", lambda exact, half: copy.deepcopy(exact))
    (broken,) = check_mixer(RoutesInEachRound, only=[law])
    assert "of its writes lie far from those in float64" in broken.message


@pytest.mark.parametrize("law", ["precision", "autocast"])
def test_they_excuse_no_mistake_beside_them(law):
    (broken,) = check_mixer(RoundsItsReads, only=[law])
    assert broken.status == "failed"
