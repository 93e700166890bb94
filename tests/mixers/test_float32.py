"""Parameters that half precision would spoil stay in float32, whatever a module is cast to."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import zoo
from mixers.convolution.h3 import H3
from mixers.convolution.hyena import Hyena
from mixers.layers.float32 import KeepsFloat32
from mixers.recurrent.s4d import S4D
from mixers.recurrent.s5 import S5

DIM, VOCABULARY = 32, 65


class Kept(KeepsFloat32):
    """One of each: a parameter, a buffer, a child with both, a parameter of a child, and one that is not there."""

    in_float32 = frozenset({"rate", "table", "child", "other.weight", "absent"})

    def __init__(self):
        super().__init__()
        self.rate, self.plain = nn.Parameter(torch.full((3,), 1.001)), nn.Parameter(torch.full((3,), 1.001))
        self.register_buffer("table", torch.full((3,), 1.001))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.child, self.other, self.absent = nn.BatchNorm1d(2), nn.Linear(2, 2), None


WIDE = {
    "rate",
    "table",
    "other.weight",
    *(f"child.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
}
NARROW = {"plain", "other.bias"}


def dtypes(module):
    return {name: tensor.dtype for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def there_and_back(module):
    return module.bfloat16().float()


CASTS = {
    "to": lambda module: module.to(torch.bfloat16),
    "half": lambda module: module.half(),
    "twice": lambda module: module.half().bfloat16(),
    "from float64": lambda module: module.double().bfloat16(),
    "with a device": lambda module: module.to("cpu", torch.bfloat16),
    "inside another": lambda module: nn.Sequential(module).bfloat16()[0],
    "copied": lambda module: copy.deepcopy(module.bfloat16()),
    "copied before": lambda module: copy.deepcopy(module).bfloat16(),
    "pickled": lambda module: pickle.loads(pickle.dumps(module.bfloat16())),
    "moved": lambda module: module.bfloat16().to("cpu"),
}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
def test_what_a_module_names_stays_in_float32_and_the_rest_is_cast(cast):
    module = cast(Kept())
    assert {name for name, dtype in dtypes(module).items() if dtype == torch.float32} == WIDE
    assert {name for name, dtype in dtypes(module).items() if dtype.itemsize == 2} == NARROW
    assert_close(module.rate.detach(), torch.full((3,), 1.001), rtol=0, atol=0)
    assert_close(module.table, torch.full((3,), 1.001), rtol=0, atol=0)
    assert module.count.dtype == torch.int64


def test_float64_goes_through():
    assert set(dtypes(Kept().double()).values()) == {torch.float64}


def test_what_is_kept_loses_nothing_on_the_way_to_half_and_back():
    module, exact = there_and_back(Kept()), Kept()
    assert torch.equal(module.rate, exact.rate)
    assert not torch.equal(module.plain, exact.plain)


def test_what_was_made_in_half_is_left_as_it_is_by_a_move_and_widened_by_a_cast():
    module = Kept()
    module.rate.data = module.rate.data.half()
    assert module.to("cpu").rate.dtype == torch.float16
    assert module.bfloat16().rate.dtype == torch.float32


def test_a_module_on_the_meta_device_is_cast_and_emptied_the_same_way():
    with torch.device("meta"):
        module = Kept()
    module = module.bfloat16().to_empty(device="cpu")
    assert {name for name, dtype in dtypes(module).items() if dtype == torch.float32} == WIDE
    assert module.rate.device.type == "cpu"


def test_a_cast_with_a_move_takes_what_is_kept_along():
    module = Kept().to("meta", torch.bfloat16)
    assert {(tensor.device.type, tensor.dtype) for tensor in (module.rate, module.table, module.child.bias)} == {
        ("meta", torch.float32)
    }


def test_memory_is_shared_of_all():
    module = Kept().bfloat16().share_memory()
    assert all(tensor.is_shared() for tensor in module.state_dict().values())


def test_parameters_stay_the_same_objects_with_their_gradients_so_that_an_optimizer_keeps_them():
    module = Kept()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.001)
    before = dict(module.named_parameters())
    module.rate.grad, module.plain.grad = torch.full((3,), 1.001), torch.full((3,), 1.001)
    module.bfloat16()
    assert all(parameter is before[name] for name, parameter in module.named_parameters())
    assert (module.rate.grad.dtype, module.plain.grad.dtype) == (torch.float32, torch.bfloat16)
    assert_close(module.rate.grad, torch.full((3,), 1.001), rtol=0, atol=0)
    optimizer.step()
    assert_close(module.rate.detach(), torch.full((3,), 1.001 - 0.001001))


@pytest.mark.parametrize("conversion", ["overwrite_module_params_on_conversion", "swap_module_params_on_conversion"])
def test_a_cast_that_makes_new_parameters_keeps_their_precision_too(conversion):
    module, choose = Kept(), getattr(torch.__future__, f"set_{conversion}")
    module.rate.grad = torch.full((3,), 1.001)
    choose(True)
    try:
        module.bfloat16()
    finally:
        choose(False)
    assert {name for name, dtype in dtypes(module).items() if dtype == torch.float32} == WIDE
    assert_close(module.rate.grad, torch.full((3,), 1.001), rtol=0, atol=0)


def test_a_name_that_is_not_there_is_an_error():
    class Misspelt(KeepsFloat32):
        in_float32 = frozenset({"rat"})

    with pytest.raises(AttributeError, match="'Misspelt' object has no attribute 'rat'"):
        Misspelt().bfloat16()


MIXERS = {
    H3: {"state_space.log_step", "state_space.log_rate", "state_space.frequency"},
    S4D: {"state_space.log_step", "state_space.log_rate", "state_space.frequency"},
    S5: {"log_step", "log_rate", "frequency"},
    Hyena: {
        "lag_features", "frequency",
        *(f"hidden.{layer}.{name}" for layer in range(3) for name in ("weight", "bias")),
    },
}  # fmt: skip


@pytest.mark.parametrize("cls", MIXERS, ids=lambda cls: cls.__name__)
def test_mixers_keep_what_turns_with_the_lag(cls):
    mixer = cls(16).bfloat16()
    assert {name for name, dtype in dtypes(mixer).items() if dtype == torch.float32} == MIXERS[cls]
    out = mixer(torch.randn(2, 9, 16, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert all(parameter.grad.dtype == parameter.dtype for parameter in mixer.parameters())


@pytest.mark.parametrize("pattern", ["h3", "s4d", "s5", "hyena"])
def test_a_model_in_bfloat16_gives_the_logits_of_float32_but_for_rounding(pattern):
    torch.manual_seed(0)
    model = zoo.build_model(pattern, vocab_size=VOCABULARY, dim=DIM, heads=2, context=256).eval()
    tokens = torch.randint(VOCABULARY, (2, 200))
    with torch.inference_mode():
        expected = model(tokens)[0][:, 180:]
        logits = copy.deepcopy(model).bfloat16()(tokens)[0][:, 180:]
    assert not torch.equal(logits.float(), expected)
    assert (logits.float() - expected).norm() / expected.norm() < 0.015
