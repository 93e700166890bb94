"""The operators on a decaying state that keep more than a plain one: slots, mLSTM, Mamba-3, normalised attention."""

import shutil
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from mixers.ops.features import elu, hedgehog, normalized, normalized_reference, rebased, taylor
from mixers.ops.mamba3 import mamba3, mamba3_reference
from mixers.ops.mlstm import mlstm, mlstm_reference
from mixers.ops.slots import abc, gsa, gsa_reference, slot_memory

EXACT = {"rtol": 1e-10, "atol": 1e-10}
B, H, K, V, M, R = 2, 2, 6, 5, 3, 2


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def negative(*shape):
    return (-3 * torch.rand(*shape, dtype=torch.float64)).requires_grad_()


def abc_reference(query, key, value, slot_logits, state=None):
    """Running softmax averages of keys and values, one token at a time."""
    sums = [] if state is None else [state[2]]
    keys, values = (query.new_zeros(B, H, K, M), query.new_zeros(B, H, M, V)) if state is None else state[:2]
    out = []
    for t in range(query.shape[1]):
        sums.append(torch.logsumexp(torch.stack([*sums[-1:], slot_logits[:, t]]), dim=0))
        keep = (sums[-2] - sums[-1]).exp() if len(sums) > 1 else torch.zeros_like(sums[-1])
        write = (slot_logits[:, t] - sums[-1]).exp()
        keys = keys * keep[..., None, :] + key[:, t, :, :, None] * write[..., None, :]
        values = values * keep[..., None] + write[..., None] * value[:, t, :, None, :]
        weights = torch.einsum("bhk,bhkm->bhm", query[:, t], keys).softmax(-1)
        out.append(torch.einsum("bhm,bhmv->bhv", weights, values))
    return torch.stack(out, dim=1), (keys, values, sums[-1])


def heads(t):
    return {"query": drawn(B, t, H, K), "key": drawn(B, t, H, K), "value": drawn(B, t, H, V)}


def ranks(t):
    return {"query": drawn(B, t, H, R, K), "key": drawn(B, t, H, R, K), "value": drawn(B, t, H, R, V)}


def gsa_inputs(t):
    return heads(t) | {"slot_write": drawn(B, t, H, M), "log_decay": negative(B, t, H, M)}


def mlstm_inputs(t):
    return heads(t) | {"input_gate": drawn(B, t, H), "forget_gate": drawn(B, t, H)}


def mamba3_inputs(t):
    step, blend = (torch.rand(B, t, H, dtype=torch.float64).requires_grad_() for _ in range(2))
    return ranks(t) | {"log_decay": negative(B, t, H), "step": step, "blend": blend, "turn": drawn(B, t, H, 2)}


OPERATORS = {
    "gsa": (
        gsa,
        gsa_reference,
        lambda t: heads(t) | {"slot_write": drawn(B, t, H, M), "log_decay": negative(B, t, H, M)},
    ),
    "abc": (abc, abc_reference, lambda t: heads(t) | {"slot_logits": drawn(B, t, H, M)}),
    "mlstm": (
        mlstm,
        mlstm_reference,
        lambda t: heads(t) | {"input_gate": drawn(B, t, H), "forget_gate": drawn(B, t, H)},
    ),
    "mamba3": (mamba3, mamba3_reference, mamba3_inputs),
    "normalized": (
        normalized,
        normalized_reference,
        lambda t: {name: elu(x).detach().requires_grad_() for name, x in heads(t).items()},
    ),
}
STATES = {
    "gsa": lambda: (drawn(B, H, K, M), drawn(B, H, M, V)),
    "abc": lambda: (drawn(B, H, K, M), drawn(B, H, M, V), drawn(B, H, M)),
    "mlstm": lambda: (drawn(B, H, K, V), drawn(B, H, K), drawn(B, H)),
    "mamba3": lambda: (drawn(B, H, 2), drawn(B, H, K, V), drawn(B, H, R, K), drawn(B, H, R, V)),
    "normalized": lambda: (torch.rand(B, H, K, V + 1, dtype=torch.float64)).requires_grad_(),
}
by_operator = pytest.mark.parametrize("name", list(OPERATORS))


def flat(outputs):
    out, state = outputs
    return [out, *tensors_of(state)]


def tensors_of(state):
    return list(state) if isinstance(state, tuple) else [] if state is None else [state]


def gradients(outputs, leaves):
    draws = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, dtype=x.dtype, generator=draws)).sum() for x in flat(outputs))
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


def agree(outputs, expected, leaves):
    assert_close(flat(outputs), flat(expected), **EXACT)
    for found, right in zip(gradients(outputs, leaves), gradients(expected, leaves), strict=True):
        assert_close(found, right, rtol=1e-10, atol=1e-10 * float(right.abs().max().clamp_min(1)))


@by_operator
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("t", [1, 65, *(pytest.param(t, marks=pytest.mark.slow) for t in (2, 7, 33, 63, 100, 130))])
def test_chunks_have_the_values_states_and_gradients_of_the_recurrence(name, state, t):
    operator, reference, draw = OPERATORS[name]
    tensors, before = draw(t), STATES[name]() if state else None
    leaves = [*tensors.values(), *tensors_of(before)]
    agree(operator(**tensors, state=before), reference(**tensors, state=before), leaves)


@by_operator
def test_a_sequence_in_pieces_continues_from_its_state(name):
    operator, _, draw = OPERATORS[name]
    tensors, state, pieces = draw(75), None, []
    whole = flat(operator(**tensors))
    for start, end in pairwise([0, 1, 2, 42, 75]):
        given = [x.clone() for x in tensors_of(state)]
        piece, following = operator(**{n: x[:, start:end] for n, x in tensors.items()}, state=state)
        assert all(map(torch.equal, tensors_of(state), given))
        pieces.append(piece)
        state = following
    assert_close(flat((torch.cat(pieces, dim=1), state)), whole, **EXACT)


@by_operator
def test_packed_documents_equal_each_alone(name):
    operator, _, draw = OPERATORS[name]
    cuts = [0, 1, 6, 41, 70]
    tensors, ids = draw(70), torch.tensor([4, 2, 4, 1])
    documents = ids.repeat_interleave(torch.tensor(cuts).diff()).expand(B, -1)
    state = STATES[name]()
    outputs = operator(**tensors, state=state, documents=documents)
    alone = [
        operator(**{n: x[:, start:end] for n, x in tensors.items()}, state=state if start == 0 else None)
        for start, end in pairwise(cuts)
    ]
    expected = torch.cat([out for out, _ in alone], dim=1), alone[-1][1]
    agree(outputs, expected, [*tensors.values(), *tensors_of(state)])


@by_operator
def test_rows_of_a_batch_have_documents_of_their_own(name):
    operator, _, draw = OPERATORS[name]
    tensors = draw(70)
    documents = torch.stack([torch.arange(70) // 40, torch.arange(70) // 13])
    together = operator(**tensors, documents=documents)[0]
    for row in range(B):
        one = slice(row, row + 1)
        alone = operator(**{n: x[one] for n, x in tensors.items()}, documents=documents[one])[0]
        assert_close(together[one], alone, **EXACT)


@by_operator
def test_bfloat16_writes_bfloat16_and_keeps_float32(name):
    operator, _, draw = OPERATORS[name]
    tensors = {n: x.detach().bfloat16() for n, x in draw(65).items()}
    out, state = operator(**tensors)
    expected, _ = operator(**{n: x.float() for n, x in tensors.items()})
    assert out.dtype == torch.bfloat16
    assert all(x.dtype == torch.float32 for x in tensors_of(state))
    assert_close(out.float(), expected, rtol=0.05, atol=0.1)


@by_operator
def test_strong_gates_stay_finite_in_float32(name):
    operator, _, draw = OPERATORS[name]
    gates = {"log_decay", "slot_logits", "input_gate", "forget_gate"}
    tensors = {n: (x * (300 if n in gates else 1)).detach().float().requires_grad_() for n, x in draw(100).items()}
    outputs = operator(**tensors)
    assert all(x.isfinite().all() for x in flat(outputs))
    assert all(x.isfinite().all() for x in gradients(outputs, list(tensors.values())))


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@by_operator
def test_compiles_whole(name):
    operator, _, draw = OPERATORS[name]
    tensors, state = draw(40), STATES[name]()
    documents = (torch.arange(40) // 15).expand(B, -1)
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    leaves = list(tensors.values())
    agree(
        compiled(**tensors, state=state, documents=documents),
        operator(**tensors, state=state, documents=documents),
        leaves,
    )


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the compiler
@pytest.mark.slow
def test_as_many_slots_as_tokens_of_a_chunk_get_their_gradients_when_compiled():
    """Inductor makes one buffer of two of zeros if they have one shape."""
    query, key, write = drawn(1, 8, 1, 4), drawn(1, 8, 1, 4), drawn(1, 8, 1, 8)
    leaves = [query, key, write, negative(1, 8, 1, 8)]
    torch.compiler.reset()
    agree(torch.compile(slot_memory, fullgraph=True)(*leaves), slot_memory(*leaves), leaves)
    torch.compiler.reset()


def test_taylor_features_have_the_kernel_of_the_series():
    query, key = drawn(4, 16), drawn(4, 16)
    a = (query * key).sum(-1) / 4
    assert_close((taylor(query) * taylor(key)).sum(-1), 1 + a + a**2 / 2)
    assert taylor(query).shape == (4, 153)


def test_rebased_features_have_the_kernel_of_a_square():
    query, key, gain, bias = drawn(4, 8), drawn(4, 8), drawn(8), drawn(8)
    u, w = (torch.nn.functional.layer_norm(x, (8,), gain, bias) for x in (query, key))
    features = [rebased(x, gain, bias) for x in (query, key)]
    assert_close((features[0] * features[1]).sum(-1), (u * w).sum(-1) ** 2 / 8)


def test_hedgehog_takes_a_weight_a_head_or_one_for_all():
    x, weight, bias = drawn(2, 5, H, K), drawn(H, K, K), drawn(H, K)
    out = hedgehog(x, weight, bias)
    assert out.shape == (2, 5, H, 2 * K)
    assert_close(out.sum(-1), torch.ones(2, 5, H, dtype=torch.float64))
    for head in range(H):
        assert_close(out[:, :, head : head + 1], hedgehog(x[:, :, head : head + 1], weight[head], bias[head]))
