import math

import pytest
import torch
from torch.testing import assert_close

from mixers.ops.scan import scan, scan_reference
from mixers.ops.selective_scan import selective_scan, selective_scan_reference
from mixers.ops.square_root import bounded_sqrt

EXACT = {"rtol": 1e-10, "atol": 1e-10}
LENGTHS = [1, 7, 33, 63, 65, 100]


def drawn(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def gradients(outputs, inputs):
    torch.manual_seed(1)
    total = sum((out * torch.randn_like(out)).sum() for out in outputs)
    return torch.autograd.grad(total.real, inputs, retain_graph=True)


def selective(t, b=2, d=3, n=2):
    delta, rate = drawn(b, t, d).exp().detach().requires_grad_(), (-drawn(d, n).exp()).detach().requires_grad_()
    return [drawn(b, t, d), delta, rate, drawn(b, t, n), drawn(b, t, n)]


def agree(fast, slow, inputs, within=1e-10):
    assert_close(fast, slow, rtol=within, atol=within)
    assert_close(gradients(fast, inputs), gradients(slow, inputs), rtol=within, atol=within)


@pytest.mark.parametrize("t", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("from_state", [True, False])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, dtype, from_state):
    inputs = [drawn(2, t, 3, 2, dtype=dtype), drawn(2, t, 3, 2, dtype=dtype), drawn(2, 3, 2, dtype=dtype)]
    given = [inputs[0].tanh(), *inputs[1 : 3 if from_state else 2]]
    agree(scan(*given), scan_reference(*given), inputs[: len(given)])


@pytest.mark.parametrize("shape", [(3,), (), (2, 300, 1), (1, 300, 3)])
def test_decays_are_broadcast(shape):
    decay, x, state = drawn(*shape), drawn(2, 300, 3), drawn(2, 3)
    agree(scan(decay.tanh(), x, state), scan_reference(decay.tanh(), x, state), [decay, x, state])


def test_real_inputs_meet_complex_decays():
    decay, x = drawn(3, dtype=torch.complex128), drawn(2, 70, 3)
    agree(scan(decay.tanh(), x), scan_reference(decay.tanh(), x), [decay, x])


def test_strong_decays_leave_everything_finite():
    decay = torch.rand(2, 100, 3).pow(40)
    decay[:, ::7] = 0
    inputs = [decay.requires_grad_(), drawn(2, 100, 3, dtype=torch.float32)]
    agree(scan(*inputs), scan_reference(*inputs), inputs, within=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients(scan(*inputs), inputs))


@pytest.mark.parametrize("t", [2, pytest.param(66, marks=pytest.mark.slow)])
def test_has_right_second_derivatives(t):
    given = (torch.rand(1, t, 1, dtype=torch.float64, requires_grad=True), drawn(1, t, 1), drawn(1, 1))
    assert torch.autograd.gradgradcheck(scan, given)


@pytest.mark.slow
def test_selective_scan_has_right_second_derivatives(monkeypatch):
    monkeypatch.setattr("mixers.ops.selective_scan.CHUNK", 2)
    monkeypatch.setattr("mixers.ops.selective_scan.NUMBERS", 1)
    given = (*selective(3, b=1, d=2), drawn(1, 2, 2))
    assert torch.autograd.gradgradcheck(lambda *inputs: selective_scan(*inputs[:5], state=inputs[5]), given)


@pytest.mark.parametrize("t", LENGTHS)
@pytest.mark.parametrize("from_state", [True, False])
def test_selective_scan_has_the_values_and_gradients_of_its_reference(t, from_state, monkeypatch):
    monkeypatch.setattr("mixers.ops.selective_scan.NUMBERS", 1)
    inputs, state = selective(t), drawn(2, 3, 2) if from_state else None
    fast, slow = (function(*inputs, state=state) for function in (selective_scan, selective_scan_reference))
    agree(fast, slow, [*inputs, *([state] if from_state else [])])


@pytest.mark.parametrize("t", [9, 150])
def test_a_document_is_what_it_is_alone(t):
    x, decay, state = drawn(1, t, 3), drawn(1, t, 3), drawn(1, 3)
    inputs, wide = selective(t, b=1), drawn(1, 3, 2)
    lengths = (4, 1, t - 5)
    documents = torch.tensor([[5, 6, 5]]).repeat_interleave(torch.tensor(lengths), dim=1)
    h, last = scan(decay, x, state, documents=documents)
    y, end = selective_scan(*inputs, state=wide, documents=documents)
    for i, start in enumerate((0, 4, 5)):
        here = slice(start, start + lengths[i])
        alone = scan(decay[:, here], x[:, here], None if i else state)
        assert_close(h[:, here], alone[0], **EXACT)
        piece = [inputs[0][:, here], inputs[1][:, here], inputs[2], inputs[3][:, here], inputs[4][:, here]]
        selected = selective_scan(*piece, state=None if i else wide)
        assert_close(y[:, here], selected[0], **EXACT)
    assert_close((last, end), (alone[1], selected[1]), **EXACT)
    assert not torch.autograd.grad(h[:, 5:].sum() + y[:, 5:].sum(), [x, inputs[0]])[0][:, :5].any()


def test_pieces_give_what_the_whole_gives_and_leave_the_state():
    x, decay = drawn(2, 90, 3), drawn(2, 90, 3).tanh()
    inputs = selective(90)
    state, wide, written = None, None, []
    for here in (slice(0, 1), slice(1, 70), slice(70, 90)):
        before = None if state is None else state.clone()
        h, following = scan(decay[:, here], x[:, here], state)
        assert before is None or torch.equal(before, state)
        piece = [tensor[:, here] if tensor.ndim == 3 else tensor for tensor in inputs]
        y, wide = selective_scan(*piece, state=wide)
        assert following.untyped_storage().nbytes() == following.nbytes
        assert wide.untyped_storage().nbytes() == wide.nbytes
        state = following
        written.append((h, y))
    whole, selected = scan(decay, x), selective_scan(*inputs)
    assert_close([torch.cat(parts, dim=1) for parts in zip(*written, strict=True)], [whole[0], selected[0]], **EXACT)
    assert_close([state, wide], [whole[1], selected[1]], **EXACT)


def test_bfloat16_is_summed_in_float32():
    decay, x = torch.full((1, 300, 2), 1.0).bfloat16(), torch.full((1, 300, 2), 1.0).bfloat16()
    h, last = scan(decay, x)
    assert (h.dtype, last.dtype, last[0, 0].item()) == (torch.bfloat16, torch.float32, 300)
    inputs = [tensor.detach().bfloat16() for tensor in selective(70)]
    y, end = selective_scan(*inputs)
    assert (y.dtype, end.dtype) == (torch.bfloat16, torch.float32)
    assert_close(y, selective_scan(*(tensor.float() for tensor in inputs))[0].bfloat16())


def test_keeps_few_states_of_a_selective_scan():
    inputs, held = selective(1000, b=1, d=8, n=64), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, lambda t: t):
        selective_scan(*inputs)
    assert sum(held) < 0.5 * math.prod((1000, 8, 64))


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("t", [1, 100])
def test_compiles_whole(t):
    torch.compiler.reset()  # a length of an earlier case would make this one a symbol, whose buffers are donated
    documents = torch.zeros(2, t, dtype=torch.int64)
    for function, inputs in ((scan, [drawn(2, t, 3), drawn(2, t, 3)]), (selective_scan, selective(t))):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        fast, eager = compiled(*inputs, documents=documents), function(*inputs)
        assert_close(fast, eager, **EXACT)
        assert_close(gradients(fast, inputs), gradients(eager, inputs), **EXACT)


def test_a_bounded_square_root_has_a_finite_slope():
    x = torch.tensor([0.0, 1e-8, 2.5e-7, 4.0], dtype=torch.float64, requires_grad=True)
    root = bounded_sqrt(x)
    assert_close(root, x.sqrt(), **EXACT)
    assert_close(torch.autograd.grad(root.sum(), x)[0], torch.tensor([1000, 1000, 1000, 0.25], dtype=torch.float64))
