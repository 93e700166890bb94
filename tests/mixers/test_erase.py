import math
import shutil
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mixers.ops import erase_chunks
from mixers.ops.delta_product import delta_product
from mixers.ops.erase import erase, erase_reference
from mixers.ops.erase_pairs import scalar_pairs

EXACT = {"rtol": 1e-10, "atol": 1e-10}
FORMS = {
    "no decay": {"decay": None},
    "a head": {"decay": "head"},
    "a channel": {"decay": "channel"},
    "a channel, in blocks": {"decay": "channel", "floor": -5.0},
    "a channel, in one product": {"decay": "channel", "floor": -0.6},
}


def inputs(t, decay="head", floor=None, *, key=False, state=False, strength=1.0, seed=0, k=5, v=3):
    """A delta rule with beta up to 2, which erases from the decayed state; leaves of float64."""
    torch.manual_seed(seed)
    made = {"query": torch.randn(2, t, 2, k), "value": torch.randn(2, t, 2, v)}
    unit, beta = normalize(torch.randn(2, t, 2, k), dim=-1), 2 * torch.rand(2, t, 2, 1)
    made |= {"a": -unit, "b": beta * unit}
    if decay is not None:
        made["log_decay"] = -strength * torch.rand(2, t, 2, *[k] * (decay == "channel"))
        if floor is not None:
            made["log_decay"] = made["log_decay"].clamp(min=floor)
        made["a"] = made["a"] * made["log_decay"].exp().reshape(2, t, 2, -1)
    if key:
        made["key"] = torch.randn(2, t, 2, k)
    if state:
        made["state"] = torch.randn(2, 2, k, v)
    return {name: x.double().requires_grad_() for name, x in made.items()}


def gradients(results, tensors):
    """Of the outputs and of the state, under fixed weights."""
    draw = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, generator=draw)).sum() for x in results)
    leaves = list(tensors.values())
    return torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


def assert_same(fast, slow, tensors):
    assert_close(fast, slow, **EXACT)
    assert_close(gradients(fast, tensors), gradients(slow, tensors), **EXACT)


def without_grad(tensors, dtype=torch.float64):
    return {name: x.detach().to(dtype) for name, x in tensors.items()}


def pieces(tensors, bounds):
    """The tensors of each piece of the time axis, without the state."""
    lengths = [end - start for start, end in pairwise(bounds)]
    split = {name: x.split(lengths, dim=1) for name, x in tensors.items() if name != "state"}
    return [{name: parts[index] for name, parts in split.items()} for index in range(len(lengths))]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("t", "key", "state"), [(1, True, True), (7, False, True), (65, True, True)])
def test_chunks_equal_the_recurrence(form, t, key, state):
    tensors, floor = inputs(t, **FORMS[form], key=key, state=state), FORMS[form].get("floor")
    assert_same(erase(**tensors, floor=floor), erase_reference(**tensors), tensors)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strength", [1.0, 60.0])
@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("t", [2, 32, 33, 63, 64, 100, 130])
def test_chunks_equal_the_recurrence_at_any_length(form, t, key, state, strength):
    tensors = inputs(t, **FORMS[form], key=key, state=state, strength=strength)
    assert_same(erase(**tensors, floor=FORMS[form].get("floor")), erase_reference(**tensors), tensors)


@pytest.mark.parametrize("form", FORMS)
def test_each_document_is_mixed_by_itself(form):
    tensors, floor = inputs(70, **FORMS[form], key=form == "a channel", state=True), FORMS[form].get("floor")
    bounds = [0, 1, 5, 31, 32, 33, 64, 66, 70]
    documents = torch.tensor([7, 3, 7, 3, 4, 3, 4, 0]).repeat_interleave(torch.tensor(bounds).diff()).expand(2, -1)
    fast = erase(**tensors, floor=floor, documents=documents)
    assert_same(fast, erase_reference(**tensors, documents=documents), tensors)
    alone = [
        erase(**piece, state=None if index else tensors["state"], floor=floor)
        for index, piece in enumerate(pieces(tensors, bounds))
    ]
    assert_same(fast, (torch.cat([out for out, _ in alone], dim=1), alone[-1][1]), tensors)


@pytest.mark.parametrize("form", ["no decay", "a channel"])
@pytest.mark.parametrize("packed", [False, True])
def test_pieces_of_a_long_sequence_equal_the_whole(form, packed, monkeypatch):
    tensors = inputs(97, **FORMS[form], state=True, key=packed)
    documents = torch.tensor([0] * 32 + [1] * 50 + [2] * 15).expand(2, -1) if packed else None
    expected = erase(**tensors, documents=documents)
    monkeypatch.setattr(erase_chunks, "LARGEST", 1)
    assert_same(erase(**tensors, documents=documents), expected, tensors)


def test_rows_have_documents_of_their_own():
    tensors = without_grad(inputs(50, "channel", state=True))
    documents = torch.stack([torch.arange(50) // 17, torch.arange(50) // 40])
    together = erase(**tensors, documents=documents)
    for row in (0, 1):
        alone = {name: x[row : row + 1] for name, x in tensors.items()}
        found = erase(**alone, documents=documents[row : row + 1])
        assert_close(found, tuple(x[row : row + 1] for x in together), **EXACT)


@pytest.mark.parametrize("form", FORMS)
def test_what_a_document_starts_with_does_not_depend_on_the_decay_before_it(form):
    tensors, floor = without_grad(inputs(40, **FORMS[form])), FORMS[form].get("floor")
    documents = (torch.arange(40) >= 20).long().expand(2, -1)
    expected = erase(**tensors, floor=floor, documents=documents)
    if "log_decay" in tensors:
        tensors["log_decay"][:, 20] = -torch.inf
    tensors["a"][:, 20] = 1e9
    assert_close(erase(**tensors, floor=floor, documents=documents), expected, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_may_be_cut_anywhere(form):
    tensors, floor = without_grad(inputs(70, **FORMS[form], state=True)), FORMS[form].get("floor")
    outs, state = [], tensors["state"]
    for piece in pieces(tensors, [0, 1, 2, 35, 69, 70]):
        earlier = state.clone()
        out, following = erase(**piece, state=state, floor=floor)
        assert torch.equal(state, earlier)
        assert following.untyped_storage().nbytes() == following.nbytes
        outs.append(out)
        state = following
    assert_close((torch.cat(outs, dim=1), state), erase(**tensors, floor=floor), **EXACT)


@pytest.mark.parametrize("decay", ["head", "channel"])
@pytest.mark.parametrize("strength", [20.0, 1000.0])
def test_strong_decays_stay_finite_in_float32(decay, strength):
    exact = inputs(100, decay, state=True, key=True, strength=strength)
    tensors = {name: x.detach().float().requires_grad_() for name, x in exact.items()}
    found, expected = erase(**tensors), erase_reference(**exact)
    assert_close(found, expected, rtol=1e-4, atol=1e-4, check_dtype=False)
    assert_close(gradients(found, tensors), gradients(expected, exact), rtol=2e-3, atol=0.05, check_dtype=False)


def test_every_decay_at_the_floor_stays_finite_in_float32():
    exact = inputs(100, "channel", floor=-5.0, strength=1e9)
    tensors = {name: x.detach().float().requires_grad_() for name, x in exact.items()}
    found, expected = erase(**tensors, floor=-5.0), erase_reference(**exact)
    assert_close(found, expected, rtol=1e-4, atol=1e-5, check_dtype=False)
    assert_close(gradients(found, tensors), gradients(expected, exact), rtol=1e-4, atol=1e-4, check_dtype=False)


def test_weak_decays_keep_their_precision_behind_a_strong_one():
    tensors = without_grad(inputs(64, "channel", strength=0.01))
    tensors["log_decay"][:, 3] = -1e6
    narrow = {name: x.float() for name, x in tensors.items()}
    assert_close(erase(**narrow), erase_reference(**tensors), rtol=1e-5, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_a_key_that_repeats_cancels_exactly(beta):
    tensors = without_grad(inputs(130, None, state=True))
    unit = normalize(torch.ones(5, dtype=torch.float64), dim=0).expand_as(tensors["a"])
    tensors |= {"a": -unit, "b": beta * unit}
    assert_close(erase(**tensors), erase_reference(**tensors), **EXACT)


@pytest.mark.parametrize("form", FORMS)
def test_has_second_derivatives(form):
    tensors = inputs(3, **FORMS[form], state=True, k=2, v=1)
    names = list(tensors)

    def mixed(*leaves):
        return erase(**dict(zip(names, leaves, strict=True)), floor=FORMS[form].get("floor"))

    leaves = tuple(tensors.values())
    assert torch.autograd.gradgradcheck(mixed, leaves, fast_mode=True)


def test_has_second_derivatives_where_decays_are_constant():
    tensors = inputs(3, "channel", k=2, v=1)
    decay = tensors.pop("log_decay").detach()
    names = list(tensors)

    def mixed(*leaves):
        return erase(**dict(zip(names, leaves, strict=True)), log_decay=decay)

    assert torch.autograd.gradgradcheck(mixed, tuple(tensors.values()), fast_mode=True)


@pytest.mark.parametrize("form", ["a head", "a channel"])
def test_accumulates_in_float32_and_answers_in_the_dtype_of_value(form):
    tensors = without_grad(inputs(40, **FORMS[form]))
    expected = erase(**tensors)
    out, state = erase(**{name: x.bfloat16() for name, x in tensors.items()})
    assert (out.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert_close((out, state), expected, rtol=0.05, atol=0.1, check_dtype=False)


@pytest.mark.parametrize("t", [1, 40])
def test_autocast_leaves_the_state_as_it_is(t):
    tensors = {name: x.detach().float() for name, x in inputs(t, "head").items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = erase(**tensors)
    assert_close(found, erase(**tensors))


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize(("form", "t"), [*((form, 40) for form in FORMS), ("a channel", 1)])
def test_compiles_whole(form, t):
    tensors = inputs(t, **FORMS[form], state=True)
    documents = (torch.arange(t) // 9).expand(2, -1)

    def mixed(**tensors):
        return erase(**tensors, floor=FORMS[form].get("floor"), documents=documents)

    torch.compiler.reset()  # all cases are the same code, which is compiled anew no more than 8 times
    compiled = torch.compile(mixed, fullgraph=True, backend="aot_eager")
    assert_same(compiled(**tensors), mixed(**tensors), tensors)


def counted_flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_flops_are_those_of_the_matrices():
    t, c, k, v = 64, 32, 5, 3
    chunks = 2 * 2 * t // c
    tensors = inputs(t, "head", k=k, v=v)
    pairs, solve, after = 2 * 2 * c * c * k, c * c * (k + v), 2 * k * c * (k + v)
    reads = 2 * c * c * (k + v) + 2 * c * k * v
    forward = chunks * (pairs + solve + after + reads + 2 * k * k * v)
    out, state = erase(**without_grad(tensors))
    assert counted_flops(lambda: erase(**without_grad(tensors))) == forward
    out, state = erase(**tensors)
    # A product has two gradients. So has the solve: another solve, and a product c×c×(k + v).
    backward = 2 * forward - chunks * 2 * solve + chunks * (solve + 2 * c * c * (k + v))
    assert counted_flops((out.sum() + state.sum()).backward) == backward
    assert math.isclose(backward, 2 * forward, rel_tol=0.2)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("decay", [None, "head", "channel"])
def test_several_steps_a_token_follow_one_another(steps, decay):
    tensors = without_grad(inputs(20, decay, state=True))
    query, state, log_decay = tensors["query"], tensors["state"], tensors.get("log_decay")
    key = normalize(torch.randn(2, 20, steps, 2, 5).double(), dim=-1)
    value, beta = torch.randn(2, 20, steps, 2, 3).double(), 2 * torch.rand(2, 20, steps, 2).double()
    documents = (torch.arange(20) // 8).expand(2, -1)
    found = delta_product(query, key, value, beta, log_decay, state, documents=documents)
    outs = []
    for t in range(20):
        state = state * (t not in (8, 16))
        if log_decay is not None:
            state = state * log_decay[:, t].exp().reshape(2, 2, -1, 1)
        for j in range(steps):
            error = value[:, t, j] - torch.einsum("bhkv,bhk->bhv", state, key[:, t, j])
            state = state + torch.einsum("bh,bhk,bhv->bhkv", beta[:, t, j], key[:, t, j], error)
        outs.append(torch.einsum("bhkv,bhk->bhv", state, query[:, t]))
    assert_close(found, (torch.stack(outs, dim=1), state), **EXACT)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"b": (2, 4, 2, 3)}, "b has the shape (2, 4, 2, 3): expected that of query, (2, 4, 2, 5)"),
        ({"key": (2, 4, 2, 3)}, "key has the shape (2, 4, 2, 3): expected that of query, (2, 4, 2, 5)"),
        ({"value": (2, 3, 2, 3)}, "value has the shape (2, 3, 2, 3): expected (2, 4, 2, 'v') (b, t, h, v)"),
        (
            {"log_decay": (2, 4, 2, 1)},
            "log_decay has the shape (2, 4, 2, 1): expected (2, 4, 2), one a head, or (2, 4, 2, 5), one a channel",
        ),
        ({"state": (2, 2, 3, 5)}, "state has the shape (2, 2, 3, 5): expected (2, 2, 5, 3) (b, h, k, v)"),
    ],
)
@pytest.mark.parametrize("operator", [erase, erase_reference])
def test_shapes_that_do_not_fit_are_refused(operator, change, error):
    tensors = without_grad(inputs(4))
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        operator(**(tensors | {name: torch.zeros(shape) for name, shape in change.items()}))
    assert str(refused.value) == error


def test_a_floor_above_0_is_refused():
    with pytest.raises(ValueError, match="floor must be 0 or less, not 5: it is a log decay"):
        erase(**inputs(4), floor=5)


def test_shapes_of_several_steps_that_do_not_fit_are_refused():
    query, key = torch.zeros(2, 4, 2, 5), torch.zeros(2, 4, 3, 2, 5)
    with pytest.raises(ValueError, match=r"key has the shape \(2, 4, 2, 5\): expected \(2, 4, 'r', 2, 5\)"):
        delta_product(query, query, query, query[..., 0])
    with pytest.raises(ValueError, match=r"beta has the shape \(2, 4, 3\): expected \(2, 4, 3, 2\)"):
        delta_product(query, key, key, key[..., 0, 0])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the compiler
def test_the_decays_of_several_chunks_get_their_gradient_when_compiled():
    """Inductor gets it wrong for a slice of the running sum, which it stores over itself."""
    a, query = torch.randn(2, 1, 1, 2, 32, 4)
    columns, decay = torch.randn(1, 1, 2, 1, 32, 4), -torch.rand(1, 1, 2, 32)
    torch._dynamo.reset()
    gradients = []
    for pairs in (scalar_pairs, torch.compile(scalar_pairs, fullgraph=True)):
        leaf = decay.clone().requires_grad_()
        outs = pairs(a, query, columns, leaf)
        (gradient,) = torch.autograd.grad(sum(out.sin().sum() for out in outs), leaf)
        gradients.append(gradient)
    torch._dynamo.reset()
    assert_close(*gradients, rtol=1e-4, atol=1e-4)
