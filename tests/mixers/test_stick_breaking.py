import pytest
import torch
from torch.testing import assert_close

from mixers.ops.stick_breaking import stick_breaking, stick_breaking_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def drawn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def gradients(outputs, *inputs):
    generator = torch.Generator().manual_seed(1)
    total = sum((out * torch.randn(out.shape, dtype=out.dtype, generator=generator)).sum() for out in outputs)
    return torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("t", "s"), [(1, 2), (7, 7), (33, 33), (5, 40)])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, s):
    tensors = drawn(2, 4, t, 6), drawn(2, 2, s, 6), drawn(2, 2, s, 3)
    fast, slow = stick_breaking(*tensors, scale=0.4), stick_breaking_reference(*tensors, scale=0.4)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, *tensors), gradients(slow, *tensors), **EXACT)


@pytest.mark.parametrize("t", [63, 65, 100, 200])
def test_weights_and_rest_add_up_to_one_over_all_chunks(t):
    query, key = drawn(1, 1, t, 4), drawn(1, 1, t, 4)
    total, rest = stick_breaking(query, key, torch.ones(1, 1, t, 1, dtype=torch.float64), scale=1.0)
    assert_close(total[..., 0] + rest, torch.ones_like(rest), **EXACT)
    assert total[0, 0, 0] == 0


def test_strong_scores_stay_finite_in_float32():
    query, key, value = (drawn(1, 1, 100, 4, dtype=torch.float32) for _ in range(3))
    outputs = stick_breaking(query, key, value, scale=300.0)
    assert all(out.isfinite().all() for out in outputs)
    assert all(gradient.isfinite().all() for gradient in gradients(outputs, query, key, value))


def test_half_precision_keeps_its_dtype():
    tensors = [drawn(1, 2, 33, 8).detach().bfloat16() for _ in range(3)]
    out, rest = stick_breaking(*tensors, scale=0.4)
    assert (out.dtype, rest.dtype) == (torch.bfloat16, torch.float32)
    exact, _ = stick_breaking(*(x.double() for x in tensors), scale=0.4)
    assert_close(out.double(), exact, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_has_right_second_derivatives_and_compiles_whole():
    tensors = drawn(1, 1, 4, 2), drawn(1, 1, 4, 2), drawn(1, 1, 4, 2)
    assert torch.autograd.gradgradcheck(lambda *x: stick_breaking(*x, scale=0.5), tensors)
    compiled = torch.compile(stick_breaking, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*tensors, scale=0.4), stick_breaking(*tensors, scale=0.4), **EXACT)
