import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mixers.ops.path_attention import PathState, path_attend, path_attend_reference

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def inputs(t, *, h=2, g=1, k=5, v=3, decay=False, dtype=torch.float64):
    torch.manual_seed(t)

    def drawn(*shape):
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    direction = F.normalize(torch.randn(2, g, t, k, dtype=dtype), dim=-1).requires_grad_()
    strength = (2 * torch.rand(2, g, t, dtype=dtype)).requires_grad_()
    tensors = [drawn(2, h, t, k), drawn(2, g, t, k), drawn(2, g, t, v), direction, strength]
    return tensors, (-torch.rand(2, h, t, dtype=dtype)).requires_grad_() if decay else None


def gradients(outputs, inputs):
    generator = torch.Generator().manual_seed(1)
    total = sum((out * torch.randn(out.shape, dtype=out.dtype, generator=generator)).sum() for out in outputs)
    return torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)


def leaves(out, state):
    return [out, *(x for x in state if x is not None)]


@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("t", [1, 7, 33, 65, 100])
def test_fast_form_has_the_values_and_gradients_of_the_reference(t, decay):
    tensors, decays = inputs(t, decay=decay)
    fast = leaves(*path_attend(*tensors, scale=0.4, log_decay=decays))
    slow = leaves(*path_attend_reference(*tensors, scale=0.4, log_decay=decays))
    assert_close(fast, slow, **EXACT)
    if t <= 33:
        learned = tensors if decays is None else [*tensors, decays]
        assert_close(gradients(fast, learned), gradients(slow, learned), **EXACT)


@pytest.mark.parametrize("t", [1, 7, 70])
def test_goes_on_from_a_state_which_it_leaves_alone(t):
    (tensors, decays), (more, later) = inputs(40, decay=True), inputs(t, decay=True)
    _, state = path_attend(*tensors, scale=0.4, log_decay=decays)
    kept = PathState(*(x.clone() for x in state))
    fast = leaves(*path_attend(*more, scale=0.4, log_decay=later, state=state))
    slow = leaves(*path_attend_reference(*more, scale=0.4, log_decay=later, state=state))
    assert_close(fast, slow, **EXACT)
    assert all(map(torch.equal, state, kept))
    whole = [torch.cat(pair, dim=2) for pair in zip(tensors, more, strict=True)]
    out, end = path_attend(*whole, scale=0.4, log_decay=torch.cat([decays, later], dim=2))
    assert_close([fast[0], *fast[1:]], leaves(out[:, :, 40:], end), **EXACT)


def test_equal_directions_and_whole_reflections_stay_exact():
    tensors, _ = inputs(100)
    tensors[3] = tensors[3][:, :, :1].expand(-1, -1, 100, -1)
    tensors[4] = torch.full_like(tensors[4], 2.0)
    fast, slow = (of(*tensors, scale=0.4)[0] for of in (path_attend, path_attend_reference))
    assert_close(fast, slow, **EXACT)


def test_half_precision_keeps_its_dtype():
    tensors, _ = inputs(33)
    half = [x.detach().bfloat16() for x in tensors]
    out, state = path_attend(*half, scale=0.4)
    assert (out.dtype, state.key.dtype) == (torch.bfloat16, torch.float32)
    assert_close(out.double(), path_attend(*(x.double() for x in half), scale=0.4)[0], rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_has_right_second_derivatives_and_compiles_whole():
    tensors, _ = inputs(3, k=2, v=2)
    assert torch.autograd.gradgradcheck(lambda *x: path_attend(*x, scale=0.5)[0], tensors)
    tensors, _ = inputs(70)
    compiled = torch.compile(path_attend, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*tensors, scale=0.4)[0], path_attend(*tensors, scale=0.4)[0], **EXACT)
