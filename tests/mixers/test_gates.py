import pytest
import torch
from torch.testing import assert_close

from mixers.ops.gates import bounded_decay, softplus_decay
from mixers.ops.preconditioner import preconditioner


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("channels", [(), (4,)])
def test_gates_are_what_their_equations_say(channels):
    x, rate, bias = drawn(2, 5, 3, *channels), drawn(3), drawn(3, *channels)
    for h in range(3):
        shifted = x[:, :, h] + bias[h]
        assert_close(softplus_decay(x, rate, bias)[:, :, h], -rate[h].exp() * torch.log1p(shifted.exp()))
        assert_close(bounded_decay(x, rate, bias, -2.0)[:, :, h], -2 / (1 + torch.exp(-rate[h].exp() * shifted)))


def test_a_bounded_decay_keeps_its_floor():
    x = torch.linspace(-1e4, 1e4, 50).view(1, 25, 2)
    decay = bounded_decay(x, torch.ones(2), torch.zeros(2))
    assert (decay.min(), decay.max()) == (-5, 0)
    with pytest.raises(ValueError, match="floor must be below 0, not 0"):
        bounded_decay(x, torch.ones(2), torch.zeros(2), 0)


def reference(key, log_decay, weight, state, new):
    factors = []
    for t in range(key.shape[1]):
        state = state.masked_fill(new[:, t, None, None], 0) * log_decay[:, t, :, None].exp()
        state = state + weight[:, t, :, None] * key[:, t] ** 2
        level = torch.log(state + 1e-6) + 0.2
        factors.append(1.5 ** (-level / (1 + level.abs())))
    return torch.stack(factors, dim=1), state


@pytest.mark.parametrize("t", [1, 2, 33])
@pytest.mark.parametrize("packed", [False, True])
def test_the_preconditioner_is_what_its_equation_says(t, packed):
    key, state = drawn(2, t, 3, 4), drawn(2, 3, 4).square()
    log_decay, weight = -drawn(2, t, 3).square(), drawn(2, t, 3).square()
    documents = (torch.arange(t) // 5).expand(2, -1)
    new = (documents.diff(dim=1, prepend=documents[:, :1]) > 0) & packed
    found = preconditioner(key, log_decay, weight, state, documents=documents if packed else None)
    expected = reference(key, log_decay, weight, state, new)
    assert_close(found, expected)
    grads = [
        torch.autograd.grad(out.sum() + end.square().sum(), [key, log_decay, weight], retain_graph=True)
        for out, end in (found, expected)
    ]
    assert_close(*grads)


def test_the_preconditioner_may_be_cut_anywhere():
    key, log_decay, weight = drawn(2, 20, 3, 4), -drawn(2, 20, 3).square(), drawn(2, 20, 3).square()
    whole, end = preconditioner(key, log_decay, weight)
    first, state = preconditioner(key[:, :7], log_decay[:, :7], weight[:, :7])
    second, last = preconditioner(key[:, 7:], log_decay[:, 7:], weight[:, 7:], state)
    assert_close((torch.cat([first, second], dim=1), last), (whole, end))
