"""The memories that take gradient steps at test time: ttt and titans."""

import pytest
import torch
from torch.autograd import gradgradcheck
from torch.testing import assert_close

from mixers.ops.inner_loss import EPSILON, layer_norm_gradient
from mixers.ops.titans import TitansState, titans, titans_reference
from mixers.ops.ttt import TTTState, ttt, ttt_reference

EXACT = {"rtol": 1e-9, "atol": 1e-9}
B, H, K = 2, 2, 6
BOTH = [(ttt, ttt_reference), (titans, titans_reference)]
GATES = {ttt: ("rate", "importance"), titans: ("rate", "forget", "momentum")}


def slow(*values):
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def inputs(operator, t, b=B):
    tensors = {name: drawn(b, t, H, K) for name in ("query", "key", "value")}
    for gate in GATES[operator]:
        tensors[gate] = (torch.rand(b, t, H, dtype=torch.float64) * 0.5).requires_grad_()
    return tensors | {"gain": drawn(H, K), "bias": drawn(H, K)}


def state_of(operator, *phases):
    """Rows at different places of their mini-batches."""
    phase = torch.tensor(phases)
    b = len(phases)
    if operator is ttt:
        # a mini-batch that has just begun has no gradients yet
        return TTTState(drawn(b, H, K + 1, K), drawn(b, H, K + 1, K), phase)
    return TitansState(drawn(b, H, K, K), drawn(b, H, K, K), drawn(b, H, K, K), phase)


def leaves_of(tensors, state):
    return [*tensors.values(), *([] if state is None else state[:-1])]


def gradients(outputs, leaves):
    out, state = outputs
    draws = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, dtype=x.dtype, generator=draws)).sum() for x in (out, *state[:-1]))
    return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("operator", "reference"), BOTH)
@pytest.mark.parametrize(
    ("t", "phases", "mini_batch"),
    [
        (1, (0, 15), 16),
        (33, (3, 15), 16),
        (7, None, 4),
        *slow((1, None, 16), (2, (15, 14), 16), (65, None, 16), (63, (0, 5), 16), (100, (2, 1), 7), (5, None, 1)),
    ],
)
def test_mini_batches_have_the_values_states_and_gradients_of_the_loop(operator, reference, t, phases, mini_batch):
    tensors, state = inputs(operator, t), None
    if phases is not None:
        state = state_of(operator, *phases)
    outputs, expected = (f(**tensors, state=state, mini_batch=mini_batch) for f in (operator, reference))
    assert_close(outputs, expected, **EXACT)
    leaves = leaves_of(tensors, state)
    found, right = gradients(outputs, leaves), gradients(expected, leaves)
    assert_close(found, right, rtol=1e-8, atol=1e-8)


def test_the_gradient_is_that_of_the_loss():
    prediction, target, gain, bias = drawn(5, K), drawn(5, K), drawn(K), drawn(K)
    normed = torch.nn.functional.layer_norm(prediction, (K,), gain, bias, EPSILON)
    (expected,) = torch.autograd.grad((normed - target).square().sum() / 2, prediction)
    assert_close(layer_norm_gradient(prediction, target, gain, bias), expected)


@pytest.mark.parametrize(("operator", "reference"), BOTH)
def test_gates_that_are_shut_leave_the_memory_as_it_is(operator, reference):
    """No rate and no forgetting: what is read is the memory that was there."""
    tensors, state = inputs(operator, 20), state_of(operator, 3, 0)
    shut = {gate: torch.zeros(B, 20, H, dtype=torch.float64) for gate in GATES[operator]}
    out, after = operator(**tensors | shut, state=state)
    query = tensors["query"] if operator is titans else torch.cat([tensors["query"], torch.ones(B, 20, H, 1)], -1)
    assert_close(out, torch.einsum("bthk,bhkv->bthv", query, state[0]))
    assert_close(after[0], state[0])


def test_ttt_descends_its_loss_by_the_gradient_that_autograd_finds():
    tensors = {name: x.detach() for name, x in inputs(ttt, 4).items()}
    state = state_of(ttt, 0, 0)._replace(gradient=torch.zeros(B, H, K + 1, K, dtype=torch.float64))
    out, _ = ttt(**tensors, state=state)
    weight = state.weight[0, 1].detach().requires_grad_()
    key, value, query = (tensors[name][0, :, 1] for name in ("key", "value", "query"))
    predicted = key @ weight[:-1] + weight[-1]
    normed = torch.nn.functional.layer_norm(predicted, (K,), tensors["gain"][1], tensors["bias"][1], EPSILON)
    losses = (normed - (value - key)).square().sum(-1) / 2 * tensors["importance"][0, :, 1]
    (step,) = torch.autograd.grad(losses.sum(), weight)
    trained = weight - tensors["rate"][0, 3, 1] * step
    assert_close(out[0, 3, 1], query[3] @ trained[:-1] + trained[-1])


@pytest.mark.parametrize(("operator", "reference"), BOTH)
def test_a_sequence_in_pieces_continues_from_its_state(operator, reference):
    tensors = {name: x.detach() for name, x in inputs(operator, 70).items()}
    whole, last = operator(**tensors)
    state, pieces, start = None, [], 0
    for length in (1, 1, 40, 5, 23):
        given = None if state is None else [x.clone() for x in state]
        cut = {name: x[:, start : start + length] if x.ndim > 2 else x for name, x in tensors.items()}
        piece, following = operator(**cut, state=state)
        assert state is None or all(map(torch.equal, state, given))
        pieces.append(piece)
        state, start = following, start + length
    assert_close(torch.cat(pieces, dim=1), whole, **EXACT)
    assert_close(state, last, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize(("operator", "reference"), BOTH)
def test_second_derivatives_are_right(operator, reference):
    tensors, state = inputs(operator, 3, b=1), state_of(operator, 1)
    names = list(tensors)

    def out(*values):
        return operator(**dict(zip(names, values, strict=True)), state=state, mini_batch=2)[0]

    assert gradgradcheck(out, tuple(tensors.values()), atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(("operator", "reference"), BOTH)
def test_bfloat16_is_computed_in_float32_and_compiles_whole(operator, reference):
    tensors, state = inputs(operator, 40), state_of(operator, 3, 15)
    narrow = {name: x.detach().bfloat16() for name, x in tensors.items()}
    wide = {name: x.double().requires_grad_() for name, x in narrow.items()}
    state = type(state)(*(x.detach() for x in state[:-1]), state.phase)
    out, after = operator(**narrow, state=type(state)(*(x.float() for x in state[:-1]), state.phase))
    assert (out.dtype, after[0].dtype) == (torch.bfloat16, torch.float32)
    expected = operator(**wide, state=state)
    assert_close(out.double(), expected[0], rtol=2e-2, atol=1e-1)
    outputs = torch.compile(operator, fullgraph=True, backend="aot_eager")(**wide, state=state)
    assert_close(outputs, expected)
    leaves = list(wide.values())
    assert_close(gradients(outputs, leaves), gradients(expected, leaves))


@pytest.mark.parametrize(("operator", "reference"), BOTH)
def test_shapes_that_do_not_fit_are_refused(operator, reference):
    tensors = inputs(operator, 3)
    with pytest.raises(ValueError, match=r"value has the shape \(2, 3, 2, 1\): expected that of query and key"):
        operator(**tensors | {"value": tensors["value"][..., :1]})
    with pytest.raises(ValueError, match=r"rate has the shape \(2, 3\): expected \(2, 3, 2\) \(b, t, h\)"):
        operator(**tensors | {"rate": torch.ones(2, 3)})
    with pytest.raises(ValueError, match="mini_batch must be 1 or more, not 0"):
        operator(**tensors, mini_batch=0)
