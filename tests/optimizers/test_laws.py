"""The laws of optimizers on trial: the built-in ones and torch's keep them, and what is broken is caught."""

from collections import Counter

import pytest
import torch

from zoo.optimizers.plugin import zoo_optimizers
from zoo.testing.optimizers import LAWS, OptimizerCase, judge

from .broken import BROKEN, Control, NeedsEveryGradient

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


def verdicts(optimizer, laws=tuple(LAWS), **options):
    case = OptimizerCase.of(optimizer, **options)
    return {name: found for name in laws if (found := judge(LAWS[name], case)).status != "passed"}


@pytest.mark.parametrize("name", zoo_optimizers())
def test_the_built_in_optimizers_keep_every_law(name):
    assert verdicts(name) == {}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [*OPTIONS, *OF_TORCH, Control])
def test_sound_optimizers_are_left_alone(optimizer):
    assert verdicts(optimizer) == {}


@pytest.mark.parametrize(("law", "cls"), [pair for pair in BROKEN if pair[0] != "quadratic"])
def test_a_broken_optimizer_is_caught_by_its_law(law, cls):
    verdict = judge(LAWS[law], OptimizerCase.of(cls))
    assert verdict.status == "failed"
    assert len(verdict.message) > 20
    assert "\n" not in verdict.message
    assert verdict.message.startswith("it fails with") == (cls is NeedsEveryGradient)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [cls for law, cls in BROKEN if law == "quadratic"])
def test_a_quadratic_that_is_not_solved_is_told(cls):
    verdict = judge(LAWS["quadratic"], OptimizerCase.of(cls))
    assert verdict.status == "failed"
    assert "of its loss on a quadratic" in verdict.message


def test_every_law_has_two_controls_and_says_what_it_is():
    counts = Counter(law for law, _ in BROKEN)
    assert set(counts) == set(LAWS)
    assert min(counts.values()) >= 2
    for name, law in LAWS.items():
        assert law.id == name
        assert law.promise.endswith(".")
        assert law.bug.endswith(".")


def test_an_optimizer_without_weight_decay_is_not_asked_about_it():
    def build(groups, lr, weight_decay):
        return torch.optim.Rprop(groups, lr=lr)

    assert judge(LAWS["no-decay"], OptimizerCase(build)) == ("skipped", "it has no weight decay")


def test_random_numbers_stay_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    judge(LAWS["determinism"], OptimizerCase.of("adamw"))
    assert torch.equal(torch.rand(3), expected)
