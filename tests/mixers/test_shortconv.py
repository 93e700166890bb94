import pytest
import torch
from torch.testing import assert_close

from mixers.ops.shortconv import shortconv, shortconv_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradients(outputs, inputs):
    torch.manual_seed(1)
    total = sum((out * torch.randn_like(out)).sum() for out in outputs)
    return torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("t", [1, 2, 7, 65])
@pytest.mark.parametrize("taps", [1, 4])
@pytest.mark.parametrize("from_state", [True, False])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, taps, from_state):
    inputs = [drawn(2, t, 3), drawn(3, taps), drawn(3), drawn(2, taps - 1, 3)][: 4 if from_state else 3]
    fast, slow = shortconv(*inputs), shortconv_reference(*inputs)
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, inputs), gradients(slow, inputs), **EXACT)


@pytest.mark.slow
def test_has_right_second_derivatives():
    documents = torch.tensor([[0, 0, 1], [2, 3, 3]])
    given = (drawn(2, 3, 2), drawn(2, 3), drawn(2), drawn(2, 2, 2))
    assert torch.autograd.gradgradcheck(shortconv, given)
    assert torch.autograd.gradgradcheck(lambda *x: shortconv(*x, documents=documents), given)


def test_pieces_give_what_the_whole_gives():
    x, weight = drawn(2, 9, 3), drawn(3, 4)
    state, written = None, []
    for piece in x.split([1, 2, 5, 1], dim=1):
        y, state = shortconv(piece, weight, None, state)
        assert state.untyped_storage().nbytes() == state.nbytes
        written.append(y)
    assert_close((torch.cat(written, dim=1), state), shortconv(x, weight), **EXACT)


def test_a_document_is_what_it_is_alone():
    x, weight, bias, state = drawn(2, 9, 3), drawn(3, 4), drawn(3), drawn(2, 3, 3)
    documents = torch.tensor([[0, 0, 0, 0, 0, 7, 0, 0, 0], [1, 1, 2, 2, 2, 2, 2, 2, 1]])
    y, last = shortconv(x, weight, bias, state, documents=documents)
    for row, lengths in enumerate([(5, 1, 3), (2, 6, 1)]):
        for i, piece in enumerate(x[row : row + 1].split(lengths, dim=1)):
            start = sum(lengths[:i])
            alone, after = shortconv(piece, weight, bias, None if i else state[row : row + 1])
            assert_close(y[row : row + 1, start : start + lengths[i]], alone, **EXACT)
        assert_close(last[row : row + 1], after, **EXACT)


def test_sums_are_float32_and_the_dtype_is_that_of_the_inputs():
    x, weight = drawn(2, 9, 3).bfloat16(), drawn(3, 8).float()
    y, state = shortconv(x, weight)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.bfloat16)
    assert_close(y, shortconv(x.float(), weight)[0].bfloat16(), rtol=0, atol=0)


def test_documents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"documents has the shape \(2, 4\): expected one id a token, \(2, 5\)"):
        shortconv(drawn(2, 5, 3), drawn(3, 4), documents=torch.zeros(2, 4, dtype=torch.int64))


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
def test_compiles_whole():
    x, weight, bias = drawn(2, 9, 3), drawn(3, 4), drawn(3)
    compiled = torch.compile(shortconv, fullgraph=True, backend="aot_eager")
    fast, eager = compiled(x, weight, bias), shortconv(x, weight, bias)
    assert_close(fast, eager, **EXACT)
    assert_close(gradients(fast, (x, weight, bias)), gradients(eager, (x, weight, bias)), **EXACT)
