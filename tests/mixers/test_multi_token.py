import pytest
import torch
from torch.testing import assert_close

from mixers.ops.attention import attend
from mixers.ops.multi_token import multi_token_attend, multi_token_attend_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def inputs(rows, s, height=3, width=5, *, h=4, g=2, group=2):
    torch.manual_seed(rows + s)
    shapes = (2, h, rows, 6), (2, g, s, 6), (2, g, s, 3), (h, height, width), (h // group, group, group)
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def gradients(out, tensors):
    upstream = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(out, tensors, upstream)


@pytest.mark.parametrize(("rows", "s", "earlier"), [(1, 1, 0), (7, 7, 0), (4, 9, 2), (12, 12, 1)])
def test_fast_form_has_the_values_and_gradients_of_the_reference(rows, s, earlier):
    tensors, options = inputs(rows, s), {"scale": 0.4, "earlier": earlier}
    fast, slow = multi_token_attend(*tensors, **options), multi_token_attend_reference(*tensors, **options)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, tensors), gradients(slow, tensors), **EXACT)


@pytest.mark.parametrize("t", [63, 65, 130, 260])
def test_chunks_and_pieces_meet_without_a_seam(t):
    query, key, value, *weights = inputs(t, t, h=2, g=1)
    whole = multi_token_attend(query, key, value, *weights, scale=0.4)
    for start, end in ((0, 1), (1, 50), (50, t)):
        first = max(start - 2, 0)
        seen = query[:, :, first:end], key[:, :, :end], value[:, :, :end]
        piece = multi_token_attend(*seen, *weights, scale=0.4, earlier=start - first)
        assert_close(piece, whole[:, :, start:end], **EXACT)


def test_a_future_key_inside_the_kernel_changes_nothing():
    tensors = inputs(12, 12)
    (of_key,) = torch.autograd.grad(multi_token_attend(*tensors, scale=0.4)[:, :, 6].sum(), tensors[1])
    assert of_key[:, :, 7:].abs().max() == 0
    assert (of_key[:, :, :7].abs().amax(-1) > 0).all()


def test_a_kernel_that_passes_its_middle_is_attention():
    query, key, value, taps, head_mix = inputs(20, 20)
    taps, head_mix = torch.zeros_like(taps), torch.eye(2).expand_as(head_mix)
    taps[:, -1, 2] = 1
    out = multi_token_attend(query, key, value, taps, head_mix, scale=0.4)
    assert_close(out, attend(query, key, value, scale=0.4), **EXACT)


@pytest.mark.slow
def test_compiles_whole():
    tensors = inputs(33, 33)
    compiled = torch.compile(multi_token_attend, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*tensors, scale=0.4), multi_token_attend(*tensors, scale=0.4), **EXACT)
