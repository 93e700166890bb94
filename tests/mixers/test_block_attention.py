import pytest
import torch
from torch.testing import assert_close

from mixers.ops.attention import attend
from mixers.ops.block_attention import moba, moba_blocks, nsa
from mixers.ops.block_attention_reference import moba_reference, nsa_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}
FORMS = [(moba, moba_reference), (nsa, nsa_reference)]


def inputs(t, s, h=4, g=2):
    torch.manual_seed(t + s)
    shapes = (2, h, t, 6), (2, g, s, 6), (2, g, s, 3)
    return [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def total(out):
    outputs, generator = out if isinstance(out, tuple) else (out,), torch.Generator().manual_seed(1)
    return sum((of * torch.randn(of.shape, dtype=of.dtype, generator=generator)).sum() for of in outputs)


@pytest.mark.parametrize(("fast", "slow"), FORMS)
@pytest.mark.parametrize(
    ("lengths", "sizes"), [((1, 1), (4, 2)), ((7, 7), (3, 1)), ((20, 20), (4, 3)), ((5, 24), (5, 2))]
)
def test_fast_form_has_the_values_and_gradients_of_the_reference(fast, slow, lengths, sizes):
    tensors, options = inputs(*lengths), {"scale": 0.4, "block_size": sizes[0], "blocks": sizes[1]}
    found, expected = fast(*tensors, **options), slow(*tensors, **options)
    assert_close(found, expected, **EXACT)
    of = [torch.autograd.grad(total(out), tensors) for out in (found, expected)]
    assert_close(*of, **EXACT)


@pytest.mark.parametrize("form", [moba, nsa])
@pytest.mark.parametrize("t", [65, 130, 200])
def test_pieces_and_chunks_give_what_the_whole_gives(form, t):
    query, key, value = inputs(t, t, h=1, g=1)
    options = {"scale": 0.4, "block_size": 8, "blocks": 3}
    whole = form(query, key, value, **options)
    whole = whole if isinstance(whole, tuple) else (whole,)
    for start, end in ((0, 1), (1, 50), (50, t)):
        piece = form(query[:, :, start:end], key[:, :, :end], value[:, :, :end], **options)
        piece = piece if isinstance(piece, tuple) else (piece,)
        assert_close(piece, tuple(out[:, :, start:end] for out in whole), **EXACT)


@pytest.mark.parametrize("form", [moba, lambda *tensors, **options: nsa(*tensors, **options)[1]])
def test_with_all_blocks_it_is_attention(form):
    tensors = inputs(30, 30)
    assert_close(form(*tensors, scale=0.4, block_size=4, blocks=8), attend(*tensors, scale=0.4), **EXACT)


def test_of_equal_blocks_the_earlier_ones_are_chosen():
    chosen = moba_blocks(torch.zeros(1, 1, 20, 2), torch.zeros(1, 1, 20, 2), 4, 3)
    assert chosen[0, 0, -1].tolist() == [True, True, False, False, True]
    assert chosen[0, 0, 3].tolist() == [True, False, False, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("form", [moba, nsa])
def test_compiles_whole(form):
    tensors, options = inputs(33, 40), {"scale": 0.4, "block_size": 8, "blocks": 3}
    compiled = torch.compile(form, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*tensors, **options), form(*tensors, **options), **EXACT)
