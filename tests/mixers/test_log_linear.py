import pytest
import torch
from torch.autograd import gradgradcheck
from torch.testing import assert_close

from mixers.ops.log_linear import LogLinearState, log_linear, log_linear_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}
B, H, K, V = 2, 2, 6, 5
LEVELS = 9


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def inputs(t, strength=1.0, b=B, levels=LEVELS):
    return {
        "query": drawn(b, t, H, K),
        "key": drawn(b, t, H, K),
        "value": drawn(b, t, H, V),
        "log_decay": (-torch.rand(b, t, H, dtype=torch.float64) * strength).requires_grad_(),
        "scale": drawn(b, t, H, levels),
    }


def state_of(*counts, levels=LEVELS):
    """The state of rows of different ages."""
    rows = [log_linear_reference(**inputs(count, b=1, levels=levels))[1] for count in counts]
    memory = torch.cat([row.memory for row in rows]).detach().requires_grad_()
    return LogLinearState(memory, torch.cat([row.tokens for row in rows]))


def gradients(outputs, tensors):
    out, state = outputs
    draws = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, dtype=x.dtype, generator=draws)).sum() for x in (out, state.memory))
    return torch.autograd.grad(total, tensors, allow_unused=True, materialize_grads=True)


def packed(t):
    lengths = [[1, 5, 30, 200], [17, 1, 1, 200]]
    return torch.stack([torch.repeat_interleave(torch.tensor([3, 1, 3, 0]), torch.tensor(row))[:t] for row in lengths])


@pytest.mark.parametrize("t", [1, 7, 65, *slow(33, 63, 100, 300)])
@pytest.mark.parametrize("ages", [(5, 12), *slow(None, (64, 1))])
def test_chunks_have_the_values_states_and_gradients_of_the_recurrence(t, ages):
    tensors, state = inputs(t), None if ages is None else state_of(*ages)
    outputs, expected = (f(**tensors, state=state) for f in (log_linear, log_linear_reference))
    assert_close(outputs, expected, **EXACT)
    leaves = [*tensors.values(), *([] if state is None else [state.memory])]
    assert_close(gradients(outputs, leaves), gradients(expected, leaves), **EXACT)


@pytest.mark.parametrize("operator", [log_linear, log_linear_reference])
@pytest.mark.parametrize("levels", [3, 7, 9])
def test_a_pair_has_the_scale_of_its_highest_differing_digit(operator, levels):
    t = 70
    given = inputs(t, levels=levels)
    level = torch.tensor([[min((i ^ j).bit_length(), levels - 1) for j in range(t)] for i in range(t)])
    since = given["log_decay"].cumsum(1)
    decay = (since[:, :, None] - since[:, None]).masked_fill(~torch.ones(t, t).bool().tril()[..., None], -torch.inf)
    scale = given["scale"].gather(-1, level[None, :, None].expand(B, t, H, t)).transpose(2, 3)
    expected = torch.einsum(
        "bijh,bijh,bihk,bjhk,bjhv->bihv", decay.exp(), scale, given["query"], given["key"], given["value"]
    )
    assert_close(operator(**given)[0], expected, **EXACT)


def test_the_pieces_are_those_of_a_fenwick_tree():
    """The 14th token, 13 = 8 + 4 + 1 before it, reads the last one as level 1, four as level 3, eight as level 4."""
    tokens = torch.eye(14, dtype=torch.float64)[None, :, None]
    ones, none = torch.ones(1, 14, 1, 14, dtype=torch.float64), torch.zeros(1, 14, 1, dtype=torch.float64)
    scale = torch.arange(6, dtype=torch.float64).expand(1, 14, 1, 6)
    out, _ = log_linear(ones, tokens, tokens, none, scale)
    assert out[0, 13, 0].tolist() == [4.0] * 8 + [3.0] * 4 + [1.0, 0.0]


@pytest.mark.parametrize("strength", [1000.0, *slow(10.0, float("inf"))])
def test_strong_decays_are_exact_in_float64_and_finite_in_float32(strength):
    tensors = inputs(100)
    with torch.no_grad():
        if strength == float("inf"):
            tensors["log_decay"][:, ::3] = -strength
        else:
            tensors["log_decay"] *= strength
    outputs, expected = log_linear(**tensors), log_linear_reference(**tensors)
    assert_close(outputs, expected, **EXACT)
    narrow = {name: x.detach().float().requires_grad_() for name, x in tensors.items()}
    rounded = log_linear(**narrow)
    assert_close(rounded[0].double(), outputs[0], rtol=2e-3, atol=2e-3)
    assert all(x.isfinite().all() for x in gradients(rounded, list(narrow.values())))


@pytest.mark.parametrize("levels", [LEVELS, *slow(4)])
def test_a_sequence_in_pieces_continues_from_its_state(levels):
    tensors = {name: x.detach() for name, x in inputs(100, levels=levels).items()}
    whole, last = log_linear(**tensors)
    state, pieces, start = None, [], 0
    for length in (1, 1, 40, 33, 25):
        given = None if state is None else [x.clone() for x in state]
        piece, following = log_linear(**{n: x[:, start : start + length] for n, x in tensors.items()}, state=state)
        assert state is None or all(map(torch.equal, state, given))
        pieces.append(piece)
        state, start = following, start + length
    assert_close(torch.cat(pieces, dim=1), whole, **EXACT)
    assert_close(state, last, **EXACT)


@pytest.mark.parametrize("ages", [(5, 12), *slow(None)])
def test_packed_documents_are_each_alone(ages):
    tensors, documents = inputs(90), packed(90)
    state = None if ages is None else state_of(*ages)
    with torch.no_grad():
        tensors["log_decay"][:, 1:][documents[:, 1:] != documents[:, :-1]] = -torch.inf
    outputs = log_linear(**tensors, state=state, documents=documents)
    assert_close(outputs, log_linear_reference(**tensors, state=state, documents=documents), **EXACT)
    alone, _ = log_linear(**{name: x[:1, 6:36] for name, x in tensors.items()})
    assert_close(outputs[0][:1, 6:36], alone, **EXACT)
    assert all(x.isfinite().all() for x in gradients(outputs, list(tensors.values())))


@pytest.mark.slow
def test_second_derivatives_are_right():
    tensors, state = inputs(5, b=1), state_of(3)
    names = list(tensors)

    def out(*values):
        return log_linear(**dict(zip(names, values, strict=True)), state=state)[0]

    assert gradgradcheck(out, tuple(tensors.values()), atol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_computed_in_float32_and_compiles_whole():
    narrow = {name: x.detach().bfloat16() for name, x in inputs(80).items()}
    wide = {name: x.float().requires_grad_() for name, x in narrow.items()}
    out, state = log_linear(**narrow)
    assert (out.dtype, state.memory.dtype) == (torch.bfloat16, torch.float32)
    expected = log_linear(**wide)
    assert_close(out.float(), expected[0], rtol=1e-2, atol=1e-1)
    outputs = torch.compile(log_linear, fullgraph=True, backend="aot_eager")(**wide)
    assert_close(outputs, expected)
    leaves = list(wide.values())
    assert_close(gradients(outputs, leaves), gradients(expected, leaves), rtol=1e-3, atol=1e-3)


def test_shapes_that_do_not_fit_are_refused():
    tensors = inputs(3)
    with pytest.raises(ValueError, match=r"scale has the shape \(2, 3, 2, 1\): expected \(2, 3, 2, 'l'\)"):
        log_linear(**tensors | {"scale": tensors["scale"][..., :1]})
    with pytest.raises(ValueError, match=r"log_decay has the shape \(2, 3\): expected \(2, 3, 2\)"):
        log_linear(**tensors | {"log_decay": torch.ones(2, 3)})
    with pytest.raises(ValueError, match="state has 3 levels above 0: expected 8, one less than scale"):
        log_linear(**tensors, state=state_of(1, 1, levels=4))
