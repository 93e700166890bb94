import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from zoo.model.norm import RMSNorm


@pytest.mark.parametrize("shape", [(2, 5, 8), (1, 1, 3), (7, 16)])
def test_it_is_torch_s_norm_in_value_and_gradient(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    norm = RMSNorm(shape[-1]).double()
    torch.nn.init.normal_(norm.weight)
    expected = F.rms_norm(x, (shape[-1],), norm.weight, 1e-6)
    torch.testing.assert_close(norm(x), expected)
    direction = torch.randn_like(expected)
    ours = torch.autograd.grad(norm(x), (x, norm.weight), direction)
    theirs = torch.autograd.grad(expected, (x, norm.weight), direction)
    torch.testing.assert_close(ours, theirs)
    assert gradcheck(norm, x)


@pytest.mark.parametrize("shape", [(1, 1, 8), (8,), (2, 1, 8), (1, 3, 8)])
@torch.no_grad()
def test_it_is_so_where_no_gradient_is_asked_for(shape):
    x, norm = 0.1 * torch.randn(shape), RMSNorm(8)
    torch.nn.init.normal_(norm.weight)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (8,), norm.weight, 1e-6))


def test_a_token_of_zeros_stays_finite():
    x = torch.zeros(1, 2, 4, requires_grad=True)
    written = RMSNorm(4)(x)
    written.sum().backward()
    assert written.abs().max() == 0
    assert torch.isfinite(x.grad).all()


def test_half_precision_is_summed_up_in_single():
    x = (torch.randn(1, 16, 4096) * torch.linspace(1, 2, 16)[:, None]).bfloat16()
    half = RMSNorm(4096).bfloat16()(x)
    # the write is rounded to eight bits, and the sum is not
    torch.testing.assert_close(half.float(), RMSNorm(4096)(x.float()), rtol=2**-8, atol=0)


@torch.no_grad()
def test_a_token_in_half_precision_is_rounded_once():
    x, norm = torch.randn(1, 1, 4096).bfloat16(), RMSNorm(4096)
    norm.weight.copy_(torch.rand(4096))
    narrow = RMSNorm(4096).bfloat16()
    narrow.weight.copy_(norm.weight)
    wide = RMSNorm(4096)
    wide.weight.copy_(narrow.weight)
    torch.testing.assert_close(narrow(x), wide(x.float()).bfloat16(), rtol=0, atol=0)


def test_autocast_leaves_it_in_single_precision():
    x, norm = torch.randn(2, 5, 8, requires_grad=True), RMSNorm(8)
    with torch.autocast("cpu", torch.bfloat16):
        normed = norm(x)
    normed.sum().backward()
    assert torch.equal(normed, norm(x))
