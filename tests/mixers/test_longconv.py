import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mixers.ops.longconv import longconv, longconv_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(out, inputs):
    torch.manual_seed(1)
    return torch.autograd.grad((out * torch.randn(out.shape, dtype=out.dtype)).sum(), inputs)


@pytest.mark.parametrize("t", [1, 7, 33, 65, 100])
@pytest.mark.parametrize("lags", [1, 40, 130])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, lags):
    inputs = drawn(2, t, 3), drawn(3, lags), drawn(3)
    fast, slow = longconv(*inputs), longconv_reference(*inputs)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, inputs), gradients(slow, inputs), **EXACT)


def test_has_right_second_derivatives():
    assert torch.autograd.gradgradcheck(longconv, (drawn(1, 4, 2), drawn(2, 4), drawn(2)))


def test_sums_are_float32_and_the_dtype_is_that_of_the_inputs():
    x, kernel = drawn(2, 9, 3).bfloat16(), drawn(3, 9).bfloat16()
    y = longconv(x, kernel)
    assert y.dtype == torch.bfloat16
    assert_close(y, longconv(x.float(), kernel.float()).bfloat16())


def test_transforms_are_counted():
    with FlopCounterMode(display=False) as counter:
        longconv(drawn(2, 128, 3), drawn(3, 128))
    once = 5 * 256 * 8 // 2
    assert counter.get_total_flops() == once * (2 * 3 + 3 + 2 * 3)


@pytest.mark.slow
def test_compiles_whole():
    inputs = drawn(2, 70, 3), drawn(3, 70), drawn(3)
    compiled = torch.compile(longconv, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*inputs), longconv(*inputs), **EXACT)
