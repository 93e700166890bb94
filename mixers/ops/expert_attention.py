"""Attention of experts that share keys and values, but have queries and lag weights of their own.

The query of expert e at t scores token s by ``sum_l w[e, l] <R_t q_t, R_s k_{s-l}> * k**-0.5``, where ``R_t`` is the
rotation of position t (or nothing, without rotary positions). Queries and keys come rotated, each at its own position;
a delayed key is then short of l steps: ``R_s k_{s-l} = R_l (R_{s-l} k_{s-l})``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixers.ops.attention import attend
from mixers.ops.experts import Dispatch
from mixers.ops.lags import delay
from mixers.ops.rotary import rotate

BLOCK = 64
"""Queries of one expert in one sequence that are scored together. Fewer skip more of the keys that none of them sees."""


class Cell(NamedTuple):
    """A block of queries with one expert and one sequence."""

    expert: int
    sequence: int
    first: int
    last: int
    seen: int


def expert_attention(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, *, rope: bool
) -> Tensor:
    """Let each row's query attend to its sequence, by the lag weights of its expert.

    Exact in two ways. Long sequences on a CPU: each expert combines the lags of the keys once, and its queries attend
    to those, expert by expert, so that the scores cost as much as without lags. Elsewhere: all slots and heads are
    query heads of one grouped attention over the lags side by side, whose shapes do not hang on the routing.

    Args:
        query: the rows of `rows`, those of the last t tokens, ``(m, h, k)``.
        key: ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        weights: one weight an expert, key head and lag, counted from lag 0, ``(e, g, l)``.
        rows: which row is whose.
        rope: whether queries and keys are rotated.

    Returns:
        ``(m, h, v)``.
    """
    rows_a_cell = len(query) / rows.counts.numel()
    by_expert = query.device.type == "cpu" and rows_a_cell >= BLOCK / 2
    form = attend_by_expert if by_expert else attend_side_by_side
    return form(query, key, value, weights.to(key.dtype), rows, rope=rope)


def attend_side_by_side(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, *, rope: bool
) -> Tensor:
    """`expert_attention` as one grouped attention: ``[w_0 q, ..., w_L q]`` against ``[k_s, ..., k_{s-L}]``."""
    b, g = key.shape[:2]
    lags = weights.shape[-1]
    expert = _expert_of_row(rows)
    # Turned back by l, a query meets the key at s - l as if both had been moved by the lag.
    turned = [_turn(query, -lag) if rope and lag else query for lag in range(lags)]
    by_head = weights[expert].repeat_interleave(query.shape[1] // g, dim=1)
    wide = torch.cat([by_head[..., lag, None] * turned[lag] for lag in range(lags)], dim=-1)
    delayed = torch.cat([delay(key, lag) for lag in range(lags)], dim=-1)
    slots = _slots(rows, b, key.shape[2], len(query))
    raise NotImplementedError(slots, wide, delayed, attend)


def _turn(x: Tensor, steps: int) -> Tensor:
    """Rotate all of ``(..., k)`` by the same number of positions."""
    return rotate(x.flatten(0, -2)[None, :, None], steps).view(x.shape)


def _expert_of_row(rows: Dispatch) -> Tensor:
    return torch.empty(0)


def _slots(*_: Any) -> int:
    return 0
