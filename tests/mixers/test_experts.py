import math

import pytest
import torch
from torch.testing import assert_close

from mixers.ops import expert_attention as attention
from mixers.ops.experts import (
    balance_loss,
    dispatch,
    entropy,
    grouped_linear,
    grouped_linear_loop,
    route,
    z_loss,
)

EXPERTS, SLOTS = 3, 2


def case(t, s, g=1, h=2, b=2, lags=3):
    """Random rows of t tokens that read s >= t tokens: queries, keys, values, lag weights."""
    draw = torch.Generator().manual_seed(t * 100 + s)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=draw, requires_grad=True)

    expert = torch.rand(b, t, EXPERTS, generator=draw).topk(SLOTS).indices
    rows = dispatch(expert, EXPERTS)
    return normal(b * t * SLOTS, h, 4), normal(b, g, s, 4), normal(b, g, s, 6), normal(EXPERTS, g, lags), rows


@pytest.mark.parametrize("form", [attention.attend_by_expert, attention.attend_side_by_side])
@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 7), (2, 2), (7, 9), (63, 63)])
@pytest.mark.parametrize("rope", [True, False])
def test_both_forms_are_the_reference_in_value_and_gradient(form, t, s, rope):
    tensors = case(t, s, g=1 if t == 63 else 2)
    expected = attention.expert_attention_reference(*tensors, rope)
    given = form(*tensors, rope)
    assert_close(given, expected)
    direction = torch.randn_like(expected)
    assert_close(
        torch.autograd.grad(given, tensors[:4], direction), torch.autograd.grad(expected, tensors[:4], direction)
    )


def test_blocks_of_queries_join_to_the_whole(monkeypatch):
    tensors = case(33, 33)
    whole = attention.attend_by_expert(*tensors, True)
    monkeypatch.setattr(attention, "BLOCK", 5)
    assert_close(attention.attend_by_expert(*tensors, True), whole)


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
    expert, gate = route(logits, 1, torch.tensor([0.0, 0.0, 9.0]))
    assert expert.tolist() == [[[2]]]
    assert gate.tolist() == [[[1.0]]]


@pytest.mark.parametrize("counts", [[3, 0, 4], [0, 0, 7], [7, 0, 0]])
def test_each_row_goes_through_its_expert_s_matrix(counts):
    rows, weight = torch.randn(7, 8), torch.randn(3, 16, 8)
    owner = torch.arange(3).repeat_interleave(torch.tensor(counts))
    expected = torch.stack([weight[e] @ row for e, row in zip(owner, rows, strict=True)])
    assert_close(grouped_linear(rows, weight, torch.tensor(counts)), expected)
    assert_close(grouped_linear_loop(rows, weight, torch.tensor(counts)), expected)


def test_the_losses_and_the_entropy_by_hand():
    even = torch.zeros(2, 3, 4)
    assert balance_loss(even, torch.full((4,), 0.25)) == pytest.approx(1)
    assert entropy(even) == pytest.approx(math.log(4))
    assert z_loss(even) == pytest.approx(math.log(4) ** 2)
    sure = torch.tensor([50.0, 0, 0, 0]).expand(2, 3, 4)
    assert balance_loss(sure, torch.tensor([1.0, 0, 0, 0])) == pytest.approx(4)
    assert entropy(sure) == pytest.approx(0, abs=1e-6)
