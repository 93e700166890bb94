"""The built-in optimizers: their equations, and what they take from torch."""

import copy
import inspect

import pytest
import torch
from torch import nn

import zoo.optimizers.muon
from zoo.optimizers.adamw import AdamW
from zoo.optimizers.lion import Lion
from zoo.optimizers.muon import Muon, orthogonalize
from zoo.optimizers.plugin import zoo_optimizers
from zoo.optimizers.sgd import SGD
from zoo.plugin.options import options_of

SHAPES = {"matrix": [(6, 4), (3, 5), (2, 4, 3)], "embedding": [(7, 4)], "vector": [(5,), ()]}


def drawn(seed=0):
    """Groups of parameters, as the zoo hands them to an optimizer."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "params": [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes],
            "weight_decay": 0.0 if role == "vector" else 0.1,
            "role": role,
        }
        for role, shapes in SHAPES.items()
    ]


def tensors(groups):
    return [parameter for group in groups for parameter in group["params"]]


def trained(optimizer, parameters, steps=5):
    """The parameters after some steps with gradients that are drawn, at a learning rate that falls."""
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return parameters


def same(first, second):
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_adamw_is_the_fused_one_of_torch():
    groups, plain = drawn(), drawn()
    ours = trained(AdamW(groups, lr=0.1, beta1=0.8, beta2=0.9), tensors(groups))
    fused = torch.optim.AdamW(plain, lr=0.1, betas=(0.8, 0.9), fused=True)
    assert same(ours, trained(fused, tensors(plain)))


def test_sgd_is_that_of_torch():
    groups, plain = drawn(), drawn()
    ours = trained(SGD(groups, lr=0.1, nesterov=True), tensors(groups))
    assert same(ours, trained(torch.optim.SGD(plain, lr=0.1, momentum=0.9, nesterov=True), tensors(plain)))


def test_lion_steps_by_the_sign_of_an_average():
    parameter = nn.Parameter(torch.tensor([1.0, -1.0, 2.0]))
    optimizer = Lion([{"params": [parameter], "weight_decay": 0.5}], lr=0.1, beta1=0.5, beta2=0.75)
    parameter.grad = torch.tensor([4.0, -8.0, 0.0])
    optimizer.step()
    assert parameter.tolist() == pytest.approx([0.95 - 0.1, -0.95 + 0.1, 1.9])
    assert optimizer.state[parameter]["average"].tolist() == [1.0, -2.0, 0.0]
    parameter.grad = torch.tensor([-2.0, 1.0, 1.0])  # half of them and of the average: -0.5, -0.5, 0.5
    optimizer.step()
    assert parameter.tolist() == pytest.approx([0.85 * 0.95 + 0.1, -0.85 * 0.95 + 0.1, 1.9 * 0.95 - 0.1])


def test_muon_is_that_of_torch_for_hidden_matrices_and_adamw_for_the_rest(monkeypatch):
    monkeypatch.setattr(zoo.optimizers.muon, "precision_on", lambda device: torch.bfloat16)  # as torch does everywhere
    groups, plain = drawn(), drawn()
    trained(Muon(groups, lr=0.1), tensors(groups))
    hidden = {"params": plain[0]["params"][:2], "weight_decay": 0.1}
    others = [plain[0] | {"params": plain[0]["params"][2:]}, *plain[1:]]
    both = [torch.optim.Muon([hidden], lr=0.1, adjust_lr_fn="match_rms_adamw"), AdamW(others, lr=0.1)]

    class Both:
        def __init__(self):
            self.param_groups = [group for one in both for group in one.param_groups]

        def step(self):
            for one in both:
                one.step()

    assert same(tensors(groups), trained(Both(), tensors(plain)))


def test_a_step_of_muon_is_orthogonal_and_as_large_as_one_of_adamw():
    matrix = nn.Parameter(torch.zeros(24, 16))
    optimizer = Muon([{"params": [matrix], "weight_decay": 0.0, "role": "matrix"}], lr=1.0)
    matrix.grad = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0)) * 1e3
    optimizer.step()
    values = torch.linalg.svdvals(matrix.detach()) / (0.2 * 24**0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.equal(orthogonalize(torch.zeros(2, 3), 5, torch.float32), torch.zeros(2, 3))
    assert 0.15 < float(matrix.detach().square().mean().sqrt()) < 0.25


@pytest.mark.parametrize("present", [["matrix"], ["embedding", "vector"]])
def test_muon_takes_a_model_without_one_of_both_kinds(present):
    groups = [group for group in drawn() if group["role"] in present]
    before = [parameter.detach().clone() for parameter in tensors(groups)]
    after = trained(Muon(groups), tensors(groups), steps=1)
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_state_loaded_the_way_of_torch_is_what_muon_works_on():
    groups, others = drawn(), drawn()
    first, second = Muon(groups, lr=0.1), Muon(others, lr=0.1)
    trained(first, tensors(groups), steps=3)
    with torch.no_grad():
        for one, other in zip(tensors(groups), tensors(others), strict=True):
            other.copy_(one)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert same(trained(first, tensors(groups)), trained(second, tensors(others)))


@pytest.mark.parametrize("cls", zoo_optimizers().values())
def test_parameters_need_no_groups_and_a_closure_is_called(cls):
    parameters = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))]

    def loss():
        total = sum(parameter.square().sum() for parameter in parameters)
        total.backward()
        return total

    assert cls(iter(parameters), lr=0.01).step(loss) == 8
    assert all((parameter < 1).all() for parameter in parameters)


@pytest.mark.parametrize("cls", zoo_optimizers().values())
def test_a_docstring_has_a_summary_an_equation_every_option_and_the_source(cls):
    text = inspect.getdoc(cls)
    assert text.splitlines()[0].endswith(".")
    assert "\n\n    " in text
    assert "\nSource: " in text
    assert cls.paper
    own = [option for option in options_of(cls) if option.name not in ("params", "lr", "weight_decay")]
    assert own
    assert all(option.meaning for option in own)
