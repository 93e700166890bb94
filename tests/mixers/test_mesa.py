import pytest
import torch
from torch.autograd import gradgradcheck
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mixers.ops.mesa import mesa, mesa_reference

EXACT = {"rtol": 1e-10, "atol": 1e-10}
B, H, K, V = 2, 2, 6, 5


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def inputs(t, state=False, strength=1.0, b=B, k=K):
    tensors = {
        "query": drawn(b, t, H, k),
        "key": drawn(b, t, H, k),
        "value": drawn(b, t, H, V),
        "log_decay": -torch.rand(b, t, H, dtype=torch.float64) * strength,
        "beta": torch.rand(b, t, H, dtype=torch.float64) * 2,
        "ridge": torch.rand(H, k, dtype=torch.float64) + 0.25,
    }
    if state:
        root = drawn(b, H, k, k)
        tensors |= {"covariance": root @ root.mT, "memory": drawn(b, H, k, V)}
    return {name: x.requires_grad_() for name, x in tensors.items()}


def run(operator, tensors, **options):
    given = dict(tensors)
    state = (given.pop("covariance"), given.pop("memory")) if "memory" in given else None
    out, after = operator(**given, state=state, **options)
    return [out, *after]


def gradients(outputs, tensors):
    draws = torch.Generator().manual_seed(1)
    total = sum((x * torch.randn(x.shape, dtype=x.dtype, generator=draws)).sum() for x in outputs)
    return torch.autograd.grad(total, list(tensors.values()))


def packed(t):
    lengths = [[1, 5, 58, 200], [17, 1, 1, 200]]
    return torch.stack([torch.repeat_interleave(torch.tensor([3, 1, 3, 0]), torch.tensor(row))[:t] for row in lengths])


@pytest.mark.parametrize("t", [1, 7, 33, *slow(63, 65, 130)])
@pytest.mark.parametrize("state", [True, *slow(False)])
def test_chunks_have_the_values_states_and_gradients_of_the_recurrence(t, state):
    tensors = inputs(t, state)
    outputs, expected = run(mesa, tensors), run(mesa_reference, tensors)
    assert_close(outputs, expected, **EXACT)
    assert_close(gradients(outputs, tensors), gradients(expected, tensors), **EXACT)


def test_what_is_read_is_the_ridge_regression_from_keys_to_values():
    given = {name: x.detach()[:1] if x.ndim > 2 else x.detach() for name, x in inputs(9).items()}
    given["log_decay"] = torch.zeros_like(given["log_decay"])
    out, _ = mesa(**given)
    key, value, beta = given["key"][0, :, 1], given["value"][0, :, 1], given["beta"][0, :, 1].sqrt()[:, None]
    # ordinary least squares, with a row for the square of each row of the map
    rows = torch.cat([beta * key, given["ridge"][1].sqrt().diag()])
    fitted = torch.linalg.lstsq(rows, torch.cat([beta * value, torch.zeros(K, V, dtype=torch.float64)])).solution
    assert_close(out[0, -1, 1], fitted.T @ given["query"][0, -1, 1])


@pytest.mark.parametrize("strength", [1000.0, *slow(10.0, float("inf"))])
def test_strong_decays_are_exact_in_float64_and_finite_in_float32(strength):
    tensors = inputs(40, state=True)
    with torch.no_grad():
        if strength == float("inf"):
            tensors["log_decay"][:, ::3] = -strength
        else:
            tensors["log_decay"] *= strength
    outputs, expected = run(mesa, tensors), run(mesa_reference, tensors)
    assert_close(outputs, expected, **EXACT)
    narrow = {name: x.detach().float().requires_grad_() for name, x in tensors.items()}
    rounded = run(mesa, narrow)
    assert_close([x.double() for x in rounded], outputs, rtol=2e-3, atol=2e-3)
    assert all(x.isfinite().all() for x in gradients(rounded, narrow))


def test_a_sequence_in_pieces_continues_from_its_state():
    tensors = {name: x.detach() for name, x in inputs(50).items()}
    whole, *last = run(mesa, tensors)
    state, pieces, start = None, [], 0
    for length in (1, 1, 25, 23):
        cut = {name: x[:, start : start + length] if x.ndim > 2 else x for name, x in tensors.items()}
        given = None if state is None else [x.clone() for x in state]
        piece, following = mesa(**cut, state=state)
        assert state is None or all(map(torch.equal, state, given))
        pieces.append(piece)
        state, start = following, start + length
    assert_close(torch.cat(pieces, dim=1), whole, **EXACT)
    assert_close(list(state), last, **EXACT)


def test_packed_documents_are_each_alone():
    t = 80
    tensors, documents = inputs(t, state=True), packed(t)
    with torch.no_grad():
        tensors["log_decay"][:, 1:][documents[:, 1:] != documents[:, :-1]] = -torch.inf
    outputs, expected = run(mesa, tensors, documents=documents), run(mesa_reference, tensors, documents=documents)
    assert_close(outputs, expected, **EXACT)
    found, right = gradients(outputs, tensors), gradients(expected, tensors)
    assert_close([x.nan_to_num() for x in found], [x.nan_to_num() for x in right], **EXACT)


@pytest.mark.slow
def test_second_derivatives_are_right():
    tensors = inputs(3, state=True, b=1, k=2)
    names = list(tensors)

    def outputs(*values):
        given = dict(zip(names, values, strict=True))
        # differences are taken of an A that stays symmetric
        given["covariance"] = (given["covariance"] + given["covariance"].mT) / 2
        return tuple(run(mesa, given))

    assert gradgradcheck(outputs, tuple(tensors.values()), atol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_computed_in_float32_and_compiles_whole():
    narrow = {name: x.detach().bfloat16() for name, x in inputs(20, state=True).items()}
    wide = {name: x.float() for name, x in narrow.items()}
    out, covariance, _ = run(mesa, narrow)
    assert (out.dtype, covariance.dtype) == (torch.bfloat16, torch.float32)
    assert_close(out.float(), run(mesa, wide)[0], rtol=1e-2, atol=1e-2)
    wide = {name: x.requires_grad_() for name, x in wide.items()}
    compiled = torch.compile(mesa, fullgraph=True, backend="aot_eager")
    outputs, expected = run(compiled, wide), run(mesa, wide)
    assert_close(outputs, expected)
    assert_close(gradients(outputs, wide), gradients(expected, wide), rtol=1e-3, atol=1e-3)


def test_the_decompositions_are_counted():
    with FlopCounterMode(display=False) as counter:
        mesa(**{name: x.detach() for name, x in inputs(4).items()})
    counts = {str(name): number for name, number in counter.get_flop_counts()["Global"].items()}
    assert counts["aten.linalg_cholesky_ex"] == B * 4 * H * K**3 // 3
    assert counts["aten.linalg_solve_triangular"] == 3 * 2 * B * 4 * H * K**2


def test_shapes_that_do_not_fit_are_refused():
    tensors = inputs(3)
    with pytest.raises(ValueError, match=r"ridge has the shape \(2,\): expected \(2, 6\) \(h, k\)"):
        mesa(**tensors | {"ridge": torch.ones(2)})
    with pytest.raises(ValueError, match=r"beta has the shape \(2, 3\): expected \(2, 3, 2\) \(b, t, h\)"):
        mesa(**tensors | {"beta": torch.ones(2, 3)})
