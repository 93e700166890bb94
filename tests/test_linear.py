import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from zoo import build_model
from zoo.model.linear import Linear, linear, use_quick_linears


@pytest.fixture(autouse=True)
def _small_matrices_count(monkeypatch):
    monkeypatch.setattr("zoo.model.linear.LARGE", 0)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [1, 6, 7])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 1, 5), (1, 3, 5), (4, 5), (2, 4, 5), (0, 5)])
@torch.no_grad()
def test_it_is_the_product_of_torch(shape, outputs, bias):
    x, weight = torch.randn(shape), torch.randn(outputs, 5)
    shift = torch.randn(outputs) if bias else None
    assert_close(linear(x, weight, shift), F.linear(x, weight, shift))


@pytest.mark.parametrize("change", [{"dtype": torch.bfloat16}, {"dtype": torch.float64}])
@torch.no_grad()
def test_elsewhere_it_is_torch_s_to_the_bit(change):
    x, weight = torch.randn(1, 64).to(**change), torch.randn(64, 64).to(**change)
    assert torch.equal(linear(x, weight), F.linear(x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == F.linear(x, weight).dtype


def test_gradients_are_torch_s_to_the_bit():
    x, weight = torch.randn(1, 64, requires_grad=True), torch.randn(64, 64, requires_grad=True)
    ours = torch.autograd.grad(linear(x, weight).square().sum(), [x, weight])
    theirs = torch.autograd.grad(F.linear(x, weight).square().sum(), [x, weight])
    assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_layers_of_a_model_are_quick_and_those_with_a_forward_pass_of_their_own_keep_it():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Linear(4, 4), Doubled(4, 4))
    names = list(model.state_dict())
    use_quick_linears(model)
    assert [type(layer) for layer in model] == [Linear, Doubled]
    assert list(model.state_dict()) == names
    copied, x = copy.deepcopy(model), torch.randn(1, 4)
    with torch.no_grad():
        model[0].weight.zero_()
        assert_close(copied(x), 2 * F.linear(F.linear(x, copied[0].weight, copied[0].bias), *copied[1].parameters()))


def test_models_that_are_built_have_them():
    model = build_model("dot-product", vocab_size=10, dim=16, context=8)
    assert {type(module) for module in model.modules() if isinstance(module, nn.Linear)} == {Linear}
