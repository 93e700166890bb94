"""The laws of optimizers: the built-in ones and torch's keep them. What is broken is in tests/laws."""

import pytest
import torch

from zoo.optimizers.plugin import zoo_optimizers
from zoo.plugin.options import options_of
from zoo.testing import check_member
from zoo.testing.kinds import OPTIMIZER

OPTIONS = ["sgd(nesterov=true)", "sgd(momentum=0)", "muon(nesterov=false, momentum=0.8)", "adamw(beta1=0)"]
OF_TORCH = [
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Adafactor,
]
FINISH = [name for name, law in OPTIMIZER.laws.items() if law.grade == "finish"]


def broken(optimizer, **how):
    return [result for result in check_member("optimizer", optimizer, strict=True, **how) if result.status == "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_optimizers())
def test_the_built_in_optimizers_keep_every_law_but_the_long_one(name):
    assert broken(name, skip=["quadratic"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*zoo_optimizers(), *OPTIONS])
def test_the_built_in_optimizers_keep_every_law(name):
    assert broken(name) == []


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OF_TORCH)
def test_those_of_torch_are_left_alone(optimizer):
    # choices as to how it is computed, and the one to climb
    fixed = {
        option.name: option.default for option in options_of(optimizer) if option.annotation in (bool, bool | None)
    }
    assert broken(optimizer, options=fixed, skip=FINISH) == []


def test_an_optimizer_without_weight_decay_is_not_asked_about_it():
    (result,) = check_member("optimizer", torch.optim.Rprop, only=["no-decay"])
    assert (result.status, result.message) == ("skipped", "it has no weight decay")


def test_random_numbers_stay_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_member("optimizer", "adamw", only=["determinism"])
    assert torch.equal(torch.rand(3), expected)
