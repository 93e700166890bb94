import pytest
import torch
from torch.testing import assert_close

from mixers.ops.lags import add_past, delay, mix_lags, mix_lags_reference, tail

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(written, inputs):
    upstream = torch.randn(written.shape, dtype=written.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(written, inputs, upstream)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("before", [None, 0, 1, 3, 7])
@pytest.mark.parametrize("t", [1, 2, 63])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, before, dynamic):
    x, weights = drawn(2, 3, t, 4), drawn(2, 3, t, 4) if dynamic else drawn(3, 4)
    past = None if before is None else drawn(2, 3, before, 4)
    inputs = [x, weights, *([past] if before else [])]
    fast, slow = mix_lags(x, weights, past), mix_lags_reference(x, weights, past)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, inputs), gradients(slow, inputs), **EXACT)
    with torch.no_grad():
        assert_close(mix_lags(x, weights, past), slow, **EXACT)


@pytest.mark.parametrize("before", [1, 3, 7])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_past_of_one_token_is_added_as_by_all_lags(rows, before):
    x, weights, past = drawn(rows, 3, 1, 4), drawn(3, 4), drawn(rows, 3, before, 4)
    expected = mix_lags_reference(x, torch.cat([torch.ones(3, 1), weights], dim=1), past)
    assert_close(add_past(x, weights, past), expected, **EXACT)
    assert add_past(x.bfloat16(), weights, past).dtype == torch.bfloat16


@pytest.mark.parametrize("weights", [drawn(2, 3), drawn(1, 2, 2, 3)], ids=["static", "dynamic"])
def test_first_and_second_derivatives(weights):
    inputs = (drawn(1, 2, 2, 2), weights, drawn(1, 2, 1, 2))
    assert torch.autograd.gradcheck(mix_lags, inputs)
    assert torch.autograd.gradgradcheck(mix_lags, inputs)


def test_weights_learn_when_the_sequence_does_not():
    x, weights = drawn(1, 2, 5, 4).detach(), drawn(2, 3)
    (gradient,) = gradients(mix_lags(x, weights), [weights])
    assert (gradient != 0).all()


def test_mix_keeps_dtype_and_layout():
    x = torch.randn(2, 5, 3, 8).transpose(1, 2)
    assert mix_lags(x, torch.randn(3, 2)).stride() == x.stride()
    assert mix_lags(x.bfloat16(), torch.randn(3, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("before", [None, 0, 1, 4])
@pytest.mark.parametrize("lag", [0, 1, 3, 9])
def test_delay_and_tail(lag, before):
    x = torch.arange(1.0, 6.0)[:, None].expand(2, 5, 3)
    past = None if before is None else torch.arange(1.0 - before, 1.0)[:, None].expand(2, before, 3)
    first = 1 - (before or 0)
    expected = [float(i - lag) if i - lag >= first else 0.0 for i in range(1, 6)]
    assert delay(x, lag, past)[1, :, 2].tolist() == expected
    whole = [float(i) for i in range(first, 6)]
    assert tail(x, lag, past)[1, :, 2].tolist() == whole[max(len(whole) - lag, 0) :]


@pytest.mark.parametrize("before", [4, 400])
def test_a_tail_of_few_tokens_leaves_a_long_past_behind(before):
    x, past = torch.randn(2, 1, 4), torch.randn(2, before, 4)
    kept = tail(x, 3, past)
    assert torch.equal(kept, torch.cat([past, x], dim=1)[:, -3:])
    assert kept.untyped_storage().nbytes() <= 2 * kept.numel() * 4


@pytest.mark.parametrize("length", [0, 2, 5, 9])
def test_a_tail_keeps_nothing_else_alive(length):
    projected = torch.randn(2, 5, 12)
    kept = tail(projected[..., 4:8], length)
    assert kept.untyped_storage().nbytes() == kept.numel() * 4
    assert torch.equal(kept, projected[:, max(5 - length, 0) :, 4:8])
