import math

import pytest
import torch
from torch.testing import assert_close

from mixers.ops import expert_attention as attention
from mixers.ops import expert_cells
from mixers.ops.experts import (
    balance_loss,
    dispatch,
    entropy,
    grouped_linear,
    grouped_linear_reference,
    multiply_groups,
    route,
    z_loss,
)
from mixers.ops.lagged_keys import combine_lags, lag_keys, lag_keys_backward
from mixers.ops.lags import delay
from mixers.ops.rotary import rotate

EXPERTS, SLOTS = 3, 2
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def case(t, s, g=1):
    """Random rows of t tokens that read s >= t tokens: queries, keys, values, weights of three lags, who is whose."""
    draw = torch.Generator().manual_seed(t * 100 + s)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=draw, requires_grad=True)

    rows = dispatch(torch.rand(2, t, EXPERTS, generator=draw).topk(SLOTS).indices, EXPERTS)
    return normal(2 * t * SLOTS, 2, 4), normal(2, g, s, 4), normal(2, g, s, 6), normal(EXPERTS, g, 3), rows


@pytest.mark.parametrize("form", [attention.attend_by_expert, attention.attend_side_by_side])
@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 7), (2, 2), (7, 9), pytest.param(63, 63, marks=pytest.mark.slow)])
@pytest.mark.parametrize("g", [1, 2])
@pytest.mark.parametrize("rope", [True, False])
def test_both_forms_are_the_reference_in_value_and_gradient(form, t, s, g, rope):
    tensors = case(t, s, g)
    expected, given = attention.expert_attention_reference(*tensors, rope=rope), form(*tensors, rope=rope)
    assert_close(given, expected, **EXACT)
    direction = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, tensors[:4], direction)
    assert_close(torch.autograd.grad(given, tensors[:4], direction), wanted, **EXACT)


@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 7), (2, 2), (7, 9)])
@pytest.mark.parametrize("g", [1, 2])
@pytest.mark.parametrize("rope", [True, False])
def test_few_queries_are_turned_instead_of_the_keys(t, s, g, rope):
    query, key, value, weights, rows = case(t, s, g)
    wanted = attention.expert_attention_reference(query, key, value, weights, rows, rope=rope)
    expert = rows.expert[rows.place].view(2, t, SLOTS)
    by_slot = query[rows.place].unflatten(0, expert.shape)
    given = attention.attend_few(by_slot, key, value, weights[expert], rope).flatten(0, 2)[rows.order]
    assert_close(given, wanted, **EXACT)
    tensors, direction = (query, key, value, weights), torch.randn_like(wanted)
    wanted_gradients = torch.autograd.grad(wanted, tensors, direction)
    assert_close(torch.autograd.grad(given, tensors, direction), wanted_gradients, **EXACT)


def test_many_rows_on_a_cpu_go_by_expert_and_few_side_by_side(monkeypatch):
    taken = []
    for name in ("attend_by_expert", "attend_side_by_side"):
        monkeypatch.setattr(attention, name, lambda *_, name=name, **__: taken.append(name))
    attention.expert_attention(*case(150, 150), rope=True)
    attention.expert_attention(*case(1, 150), rope=True)
    assert taken == ["attend_by_expert", "attend_side_by_side"]
    *tensors, rows = case(150, 150)
    for units in (True, False):
        monkeypatch.setattr(attention, "BFLOAT16_UNITS", units)
        attention.expert_attention(*(x.bfloat16() for x in tensors), rows, rope=True)
    assert taken[2:] == ["attend_side_by_side", "attend_by_expert"]


def test_a_delayed_key_is_rotated_where_it_lands():
    key = torch.randn(2, 3, 9, 4, dtype=torch.float64)
    lagged = lag_keys(rotate(key), 3, rope=True)
    for lag in range(3):
        assert_close(lagged[:, :, lag], rotate(delay(key, lag)), **EXACT)
        assert_close(lag_keys(key, 3, rope=False)[:, :, lag], delay(key, lag), **EXACT)


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("s", [1, 2, 9])
def test_the_gradient_of_keys_at_every_lag(s, rope):
    key = torch.randn(2, s, 4, dtype=torch.float64, requires_grad=True)
    lagged = lag_keys(key, 4, rope)
    direction = torch.randn_like(lagged)
    assert_close(lag_keys_backward(direction, rope), torch.autograd.grad(lagged, key, direction)[0], **EXACT)


@pytest.mark.parametrize("rope", [True, False])
def test_the_lags_of_one_expert_add_up_by_its_weights(rope):
    key, weights = torch.randn(2, 3, 9, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    expected = sum(weights[:, lag, None, None] * lag_keys(key, 4, rope)[:, :, lag] for lag in range(4))
    assert_close(combine_lags(key, weights, rope), expected, **EXACT)


@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 70), (63, 63), (65, 70)])
@pytest.mark.parametrize("g", [1, 2])
def test_one_expert_for_all_tokens_is_the_reference_in_value_and_gradient(t, s, g):
    rows, key, value, weights, _ = case(t, s, g)
    inputs = rows, key, value, weights
    whole = dispatch(torch.zeros(2, t, 1, dtype=torch.int64), 1)
    expected = attention.expert_attention_reference(rows[: 2 * t], key, value, weights[:1], whole, rope=True)
    query = rows[: 2 * t].unflatten(0, (2, t)).transpose(1, 2)
    given = attention.attend_alone(query, combine_lags(key, weights[0], rope=True), value)
    given = given.transpose(1, 2).flatten(0, 1)
    assert_close(given, expected, **EXACT)
    direction = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, inputs, direction)
    assert_close(torch.autograd.grad(given, inputs, direction), wanted, **EXACT)


def test_blocks_of_queries_join_to_the_whole(monkeypatch):
    tensors = case(33, 33)
    whole = attention.attend_by_expert(*tensors, rope=True)
    monkeypatch.setattr(expert_cells, "BLOCK", 5)
    assert_close(attention.attend_by_expert(*tensors, rope=True), whole)


def test_rows_are_sorted_by_expert_then_sequence_then_time_and_found_again():
    expert = torch.rand(3, 5, EXPERTS).topk(SLOTS).indices
    rows = dispatch(expert, EXPERTS)
    keys = [(int(e), int(token) // 5, int(token) % 5) for e, token in zip(rows.expert, rows.token, strict=True)]
    assert keys == sorted(keys)
    assert torch.equal(rows.expert[rows.place].view(3, 5, SLOTS), expert)
    for e in range(EXPERTS):
        for sequence in range(3):
            assert rows.counts[e, sequence] == (expert[sequence] == e).sum()


def test_gates_sum_to_one_and_the_bias_moves_the_choice_alone():
    logits = torch.tensor([[[1.0, 2.0, 0.0]]])
    expert, gate = route(logits, 2)
    assert expert.tolist() == [[[1, 0]]]
    assert_close(gate, torch.tensor([[[math.e / (1 + math.e), 1 / (1 + math.e)]]]))
    expert, gate = route(logits, 2, torch.tensor([0.0, 0.0, 9.0]))
    assert expert.tolist() == [[[2, 1]]]
    assert_close(gate, torch.tensor([[[1 / (1 + math.e**2), math.e**2 / (1 + math.e**2)]]]))


@pytest.mark.parametrize("counts", [[3, 0, 4], [0, 0, 7], [7, 0, 0]])
def test_each_row_goes_through_its_expert_s_matrix(counts):
    rows = torch.randn(7, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 16, 8, dtype=torch.float64, requires_grad=True)
    owner = torch.arange(3).repeat_interleave(torch.tensor(counts))
    expected = torch.stack([weight[e] @ row for e, row in zip(owner, rows, strict=True)])
    direction = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (rows, weight), direction)
    for form in (grouped_linear, grouped_linear_reference):
        given = form(rows, weight, torch.tensor(counts))
        assert_close(given, expected, **EXACT)
        assert_close(torch.autograd.grad(given, (rows, weight), direction), wanted, **EXACT)


# torch traces a custom gradient by making an instance of it, which it deprecates itself
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_the_operators_that_the_compiler_does_not_look_into_say_the_truth_of_themselves():
    query, key, value, weights, rows = case(9, 9)
    by_head = weights.detach().transpose(0, 1).contiguous().requires_grad_()
    torch.library.opcheck(expert_cells.attend_cells, (query, key, value, by_head, rows.token % 9, rows.counts, True))
    matrices = torch.randn(EXPERTS, 6, 8, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(multiply_groups, (query.detach().flatten(1).requires_grad_(), matrices, rows.counts.sum(1)))


def test_the_losses_and_the_entropy_by_hand():
    even = torch.zeros(2, 3, 4)
    assert balance_loss(even, torch.full((4,), 0.25)) == pytest.approx(1)
    assert entropy(even) == pytest.approx(math.log(4))
    assert z_loss(even) == pytest.approx(math.log(4) ** 2)
    sure = torch.tensor([50.0, 0, 0, 0]).expand(2, 3, 4)
    assert balance_loss(sure, torch.tensor([1.0, 0, 0, 0])) == pytest.approx(4)
    assert entropy(sure) == pytest.approx(0, abs=1e-6)
