from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from mixers.ops.decay import decay, decay_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}
B, H, K, V = 2, 2, 6, 5
SHAPES = {"none": None, "constant": (H,), "head": (B, -1, H), "channel": (B, -1, H, K), "floor": (B, -1, H, K)}
KINDS = list(SHAPES)


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def drawn(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float64) * scale).requires_grad_()


def inputs(t, kind="head", state=False, bonus=False, strength=2.0):
    """Arguments of `decay` by name; `floor` draws decays of a channel that keep one of -5."""
    tensors = {"query": drawn(B, t, H, K), "key": drawn(B, t, H, K), "value": drawn(B, t, H, V)}
    if SHAPES[kind] is not None:
        log_decay = -torch.rand([t if n == -1 else n for n in SHAPES[kind]], dtype=torch.float64) * strength
        tensors["log_decay"] = log_decay.requires_grad_()
    if state:
        tensors["state"] = drawn(B, H, K, V)
    if bonus:
        tensors["bonus"] = drawn(H, K)
    return tensors


def run(operator, tensors, **options):
    return operator(**{"log_decay": None} | tensors, **options)


def fast(tensors, kind, **options):
    return run(decay, tensors, floor=-5.0 if kind == "floor" else None, **options)


def gradients(outputs, tensors):
    draws = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, dtype=x.dtype, generator=draws)).sum() for x in outputs)
    return torch.autograd.grad(total, list(tensors.values()), allow_unused=True, materialize_grads=True)


def packed(t):
    """Documents of 1 to 30 tokens, other ones in each row, one of which returns to an id."""
    lengths = [[1, 5, 30, 2, 200], [17, 1, 1, 40, 200]]
    ids = [torch.repeat_interleave(torch.tensor([3, 1, 3, 0, 2]), torch.tensor(row))[:t] for row in lengths]
    return torch.stack(ids)


@pytest.mark.parametrize("t", [1, 7, 65, *slow(33, 63, 100)])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_have_the_values_states_and_gradients_of_the_recurrence(t, kind):
    tensors = inputs(t, kind, state=t % 2 == 0 or t == 65)
    outputs, expected = fast(tensors, kind), run(decay_reference, tensors)
    assert_close(outputs, expected, **EXACT)
    assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)


@pytest.mark.parametrize("t", [1, 33, *slow(100)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bonus", [True, *slow(False)])
def test_reading_before_the_write_is_the_recurrence_too(t, kind, bonus):
    tensors = inputs(t, kind, state=True, bonus=bonus)
    outputs, expected = fast(tensors, kind, read="before"), run(decay_reference, tensors, read="before")
    assert_close(outputs, expected, **EXACT)
    assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)


def test_the_recurrence_does_what_the_equation_says():
    tensors = inputs(2, "channel", state=True, bonus=True)
    query, key, value, log_decay, state, bonus = tensors.values()
    once = log_decay[:, 0].exp()[..., None] * state + torch.einsum("bhk,bhv->bhkv", key[:, 0], value[:, 0])
    twice = log_decay[:, 1].exp()[..., None] * once + torch.einsum("bhk,bhv->bhkv", key[:, 1], value[:, 1])
    out, last = decay_reference(query, key, value, log_decay, state)
    assert_close(last, twice)
    assert_close(out[:, 1], torch.einsum("bhk,bhkv->bhv", query[:, 1], twice))
    out, _ = decay_reference(query, key, value, log_decay, state, read="before", bonus=bonus)
    own = (query[:, 1] * bonus * key[:, 1]).sum(-1, keepdim=True) * value[:, 1]
    assert_close(out[:, 1], torch.einsum("bhk,bhkv->bhv", query[:, 1], once) + own)


@pytest.mark.parametrize("kind", ["head", "channel"])
@pytest.mark.parametrize("strength", [1000.0, float("inf"), *slow(10.0)])
def test_strong_decays_are_exact_in_float64_and_finite_in_float32(kind, strength):
    tensors = inputs(100, kind, state=True)
    with torch.no_grad():
        if strength == float("inf"):
            tensors["log_decay"][:, ::3] = -strength
        else:
            tensors["log_decay"] *= strength
    outputs, expected = fast(tensors, kind), run(decay_reference, tensors)
    assert_close(outputs, expected, **EXACT)
    assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)
    narrow = {name: x.detach().float().requires_grad_() for name, x in tensors.items()}
    rounded = fast(narrow, kind)
    # a chunk of hard gates has a running sum of -2000, of which float32 keeps three digits behind the point
    assert_close([x.double() for x in rounded], list(outputs), rtol=2e-3, atol=2e-3)
    assert all(x.isfinite().all() for x in gradients(rounded, narrow))


def test_the_least_decay_that_a_floor_allows_is_finite_in_float32():
    tensors = {name: x.detach().float() for name, x in inputs(100, "floor").items()}
    tensors["log_decay"] = torch.full_like(tensors["log_decay"], -5)
    leaves = {name: x.requires_grad_() for name, x in tensors.items()}
    outputs = fast(leaves, "floor")
    assert_close(outputs, run(decay_reference, leaves), rtol=1e-5, atol=1e-5)
    assert all(x.isfinite().all() for x in gradients(outputs, leaves))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", ["after", "before"])
def test_a_sequence_in_pieces_continues_from_its_state(kind, read):
    tensors = inputs(100, kind)
    whole, last = fast(tensors, kind, read=read)
    state, pieces, start = None, [], 0
    for length in (1, 1, 40, 33, 25):
        cut = {name: x[:, start : start + length] if x.ndim > 1 else x for name, x in tensors.items()}
        given = None if state is None else state.clone()
        piece, following = fast(cut | ({} if state is None else {"state": state}), kind, read=read)
        assert state is None or torch.equal(state, given)
        pieces.append(piece)
        state, start = following, start + length
    assert_close(torch.cat(pieces, dim=1), whole, **EXACT)
    assert_close(state, last, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", ["after", "before"])
def test_packed_documents_equal_each_alone(kind, read):
    t = 70
    tensors, documents = inputs(t, kind, state=True, bonus=read == "before"), packed(t)
    with torch.no_grad():
        if kind in ("head", "channel"):
            tensors["log_decay"][:, 1:][documents[:, 1:] != documents[:, :-1]] = -torch.inf
    outputs = fast(tensors, kind, read=read, documents=documents)
    expected = run(decay_reference, tensors, read=read, documents=documents)
    assert_close(outputs, expected, **EXACT)
    assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)
    for row in range(B):
        cuts = [0, *((documents[row, 1:] != documents[row, :-1]).nonzero()[:, 0] + 1).tolist(), t]
        state = tensors["state"][row : row + 1]
        for start, end in pairwise(cuts):
            piece = {n: x[row : row + 1, start:end] for n, x in tensors.items() if n in ("query", "key", "value")}
            if "log_decay" in tensors:
                given = tensors["log_decay"]
                piece["log_decay"] = given if kind == "constant" else given[row : row + 1, start:end]
            if "bonus" in tensors:
                piece["bonus"] = tensors["bonus"]
            if start == 0:
                piece["state"] = state
            alone, last = fast(piece, kind, read=read)
            assert_close(outputs[0][row : row + 1, start:end], alone, **EXACT)
        assert_close(outputs[1][row : row + 1], last, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_spans_of_a_long_sequence_continue_each_other(kind, monkeypatch):
    monkeypatch.setattr("mixers.ops.decay.SPAN", 64)
    tensors, documents = inputs(130, kind, state=True), packed(130)
    for options in ({}, {"documents": documents}):
        outputs, expected = fast(tensors, kind, **options), run(decay_reference, tensors, **options)
        assert_close(outputs, expected, **EXACT)
        assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)


@pytest.mark.parametrize("kind", ["head", "channel"])
def test_bfloat16_has_a_state_in_float32(kind):
    tensors = {name: x.detach().bfloat16() for name, x in inputs(65, kind).items()}
    exact = {name: x.float() for name, x in tensors.items()}
    out, state = fast(tensors, kind)
    expected, last = fast(exact, kind)
    assert out.dtype == torch.bfloat16
    assert_close(out.float(), expected, rtol=0.01, atol=0.05)
    assert_close(state, last)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(fast(exact, kind), (expected, last))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "channel", "floor"])
def test_second_derivatives(kind):
    tensors = inputs(9, kind, state=True)
    names, values = list(tensors), [x[:1, :, :1] if x.ndim > 2 else x for x in tensors.values()]
    values[-1] = tensors["state"][:1, :1]
    values = [x.detach().requires_grad_() for x in values]
    assert torch.autograd.gradgradcheck(
        lambda *xs: fast(dict(zip(names, xs, strict=True)), kind), values, fast_mode=True
    )


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiles_whole(kind):
    tensors, documents = inputs(70, kind, state=True), packed(70)
    compiled = torch.compile(decay, fullgraph=True, backend="aot_eager")
    options = {"floor": -5.0 if kind == "floor" else None, "documents": documents}
    outputs, expected = run(compiled, tensors, **options), run(decay, tensors, **options)
    assert_close(outputs, expected, **EXACT)
    assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"key": torch.zeros(2, 3, 2, 4)}, r"key has the shape \(2, 3, 2, 4\): expected \(2, 3, 2, 6\) for a query of"),
        ({"log_decay": torch.zeros(3)}, r"log_decay has the shape \(3,\): expected \(2,\) or \(2, 3, 2\) or"),
        ({"state": torch.zeros(2, 2, 5, 6)}, r"state has the shape \(2, 2, 5, 6\): expected \(2, 2, 6, 5\)"),
        ({"read": "during"}, 'read must be "after" or "before", not \'during\''),
        ({"bonus": torch.zeros(2, 6)}, 'a bonus needs read="before"'),
        ({"floor": 5.0}, "floor must be 0 or less, the least log decay of a token, not 5.0"),
        ({"documents": torch.zeros(2, 4, dtype=torch.int64)}, r"documents has the shape \(2, 4\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error):
    with pytest.raises(ValueError, match=error):
        decay(**inputs(3) | change)
