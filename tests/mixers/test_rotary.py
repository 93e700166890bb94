import pytest
import torch
from torch.testing import assert_close

from mixers.ops.rotary import rotate, rotate_pair, rotate_reference, unrotate

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def gradient(written, x):
    upstream = torch.randn(written.shape, dtype=written.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad(written, x, upstream)


@pytest.mark.parametrize("offset", [0, 5, -2, torch.tensor([3, 40])], ids=str)
@pytest.mark.parametrize("t", [1, 2, 63])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, offset):
    x = drawn(2, 3, t, 6)
    fast, slow = rotate(x, offset), rotate_reference(x, offset)
    assert_close(fast, slow, **EXACT)
    assert_close(gradient(fast, x), gradient(slow, x), **EXACT)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the compiler
@pytest.mark.slow
@pytest.mark.parametrize("offset", [0, torch.tensor([3, 40])], ids=str)
def test_generated_code_has_the_values_and_gradients(offset):
    torch.compiler.reset()
    x = drawn(2, 3, 17, 6)
    plain, compiled = rotate(x, offset), torch.compile(rotate, fullgraph=True)(x, offset)
    assert_close(compiled, plain, **EXACT)
    assert_close(gradient(compiled, x), gradient(plain, x), **EXACT)


@pytest.mark.parametrize(
    "offset", [7, -2, torch.tensor([3, 40]), torch.tensor([63, 64]), torch.tensor([9, 9])], ids=str
)
@pytest.mark.parametrize("channels", [None, 4])
@pytest.mark.parametrize("t", [1, 5])
@pytest.mark.parametrize("grad", [False, True])
def test_queries_and_keys_turn_together_as_each_by_itself(t, channels, offset, grad):
    query, key = drawn(2, 4, t, 6), drawn(2, 2, t, 6)
    with torch.set_grad_enabled(grad):
        pair = rotate_pair(query, key, offset, 100.0, channels)
    for turned, x in zip(pair, (query, key), strict=True):
        width = channels or 6
        assert_close(turned[..., :width], rotate_reference(x[..., :width], offset, 100.0), **EXACT)
        assert torch.equal(turned[..., width:], x[..., width:])


@pytest.mark.parametrize("offset", [-70, 0, 63, 64, torch.tensor([5, 128])], ids=str)
@torch.no_grad()
def test_a_token_by_itself_turns_as_in_its_sequence(offset):
    x = drawn(2, 3, 1, 6)
    assert_close(rotate(x, offset), rotate_reference(x, offset), **EXACT)
    assert_close(rotate(x.bfloat16(), offset), rotate(x.bfloat16().float(), offset).bfloat16(), rtol=0, atol=0)


def test_first_and_second_derivatives():
    x = drawn(1, 2, 3, 4)
    assert torch.autograd.gradcheck(rotate, x)
    assert torch.autograd.gradgradcheck(rotate, x)


def test_scores_depend_on_distances_alone():
    query, key = drawn(1, 2, 5, 8), drawn(1, 2, 5, 8)
    near = rotate(query) @ rotate(key).mT
    far = rotate(query, 1000) @ rotate(key, 1000).mT
    assert_close(near, far, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("offset", [0, 7, torch.tensor([3, 40])], ids=str)
def test_a_rotation_can_be_taken_back(offset):
    x = drawn(2, 3, 5, 6)
    assert_close(unrotate(rotate(x, offset), offset), x, **EXACT)


def test_position_zero_is_left_alone_and_lengths_are_kept():
    x = drawn(1, 2, 5, 8)
    assert torch.equal(rotate(x)[:, :, 0], x[:, :, 0])
    assert_close(rotate(x).norm(dim=-1), x.norm(dim=-1), **EXACT)


def test_angles_keep_their_precision_where_channels_have_little():
    x = torch.randn(1, 2, 3, 64, generator=torch.Generator().manual_seed(0))
    half = rotate(x.bfloat16(), 5000)
    assert half.dtype == torch.bfloat16
    # in bfloat16 the positions 5000 to 5002 would be one
    assert_close(half.float(), rotate(x.double(), 5000).float(), rtol=0, atol=0.03)
    assert_close(rotate(x, 5000).double(), rotate(x.double(), 5000), rtol=0, atol=5e-3)


def test_layout_in_memory_is_kept():
    x = torch.randn(2, 5, 3, 8).transpose(1, 2)
    assert rotate(x).stride() == x.stride()
