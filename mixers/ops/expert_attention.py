"""Attention of experts that share keys and values, but have queries and lag weights of their own.

The query of an expert at t scores token s by ``sum_l w_l <R_t q_t, R_s k_{s-l}> * k**-0.5``, where w are the weights
of the expert and ``R_t`` turns by position t (or not at all, without rotary positions).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention import BFLOAT16_UNITS, CHUNK, attend, visible
from mixers.ops.expert_cells import BLOCK, attend_cells
from mixers.ops.experts import Dispatch
from mixers.ops.lagged_keys import lag_keys, turn
from mixers.ops.rotary import rotate


def rotate_rows(query: Tensor, position: Tensor, rows: Dispatch) -> Tensor:
    """Rotate the query of each row at the position of its token.

    Args:
        query: ``(m, h, k)``.
        position: of the first token of each sequence, ``(b,)``.
        rows: whose row is whose.
    """
    t = len(query) // (rows.slots * len(position))
    each = position.repeat_interleave(t) + torch.arange(t, device=query.device).repeat(len(position))
    return rotate(query[:, :, None], each[rows.token]).squeeze(2)


def expert_attention(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, *, rope: bool
) -> Tensor:
    """Let each row's query attend to its sequence by the lag weights of its expert.

    Both ways are exact. On a CPU with enough rows, each expert combines the lags of the keys once and its queries
    attend to those: the scores cost what they cost without lags. Elsewhere, and on a CPU with units for bfloat16, which
    want large products, all slots and heads are query heads of one grouped attention over the lags side by side, a few
    large kernels whatever the routing.

    Args:
        query: the rows, which are the last t tokens of each sequence, ``(m, h, k)``.
        key: those of all s tokens, ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        weights: one weight an expert, key head and lag, ``(e, g, l)``.
        rows: whose row is whose.
        rope: whether queries and keys are rotated, each at its own position.

    Returns:
        ``(m, h, v)``.
    """
    enough = len(rows.order) >= rows.counts.numel() * BLOCK // 2
    narrow = query.dtype == torch.bfloat16 and BFLOAT16_UNITS
    form = attend_by_expert if enough and not narrow and query.device.type == "cpu" else attend_side_by_side
    return form(query, key, value, weights, rows, rope=rope)


def attend_side_by_side(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, *, rope: bool
) -> Tensor:
    """`expert_attention` as one attention of ``[w_0 q_t, ..., w_L q_t]`` to ``[k_s, ..., k_{s-L}]``."""
    (b, g), h = key.shape[:2], query.shape[1]
    by_head = weights.to(query.dtype).index_select(0, rows.expert).repeat_interleave(h // g, dim=1)
    wide_query = (by_head[..., None] * query[:, :, None]).flatten(2)
    wide_key = lag_keys(key, weights.shape[-1], rope).transpose(2, 3).flatten(3)
    # (b t r) (g h) k -> b (g h r) t k: the slots of a token are more query heads of the same key head.
    by_slot = wide_query.index_select(0, rows.place).view(b, -1, rows.slots, *wide_query.shape[1:])
    slots = by_slot.permute(0, 3, 2, 1, 4).flatten(1, 2)
    mixed = attend(slots, wide_key, value, scale=query.shape[-1] ** -0.5)
    return mixed.unflatten(1, (-1, rows.slots)).permute(0, 3, 2, 1, 4).flatten(0, 2).index_select(0, rows.order)


def attend_by_expert(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, *, rope: bool
) -> Tensor:
    """`expert_attention` of each expert to its own combination of the lags, sequence by sequence."""
    t, s = len(query) // (rows.slots * len(key)), key.shape[2]
    position = rows.token % t + s - t
    by_head = weights.transpose(0, 1).to(key.dtype)
    mixed: Tensor = attend_cells(query, key, value, by_head, position, rows.counts, rope)
    return mixed


def attend_few(query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rope: bool) -> Tensor:
    """The same for a few tokens after many, as in decoding: what costs is one pass over the keys as they are.

    Instead of the keys, the queries are turned, back by the lag: ``<R_t q_t, R_s k_{s-l}>`` is
    ``<R_{t-l} q_t, R_{s-l} k_{s-l}>``. The scores of each lag, ``t * r * h * l * s`` of them, are then moved to where
    it lands.

    Args:
        query: of the last t tokens, r experts each, rotated at their positions, ``(b, t, r, h, k)``.
        key: ``(b, g, s, k)``, rotated at their own positions.
        value: ``(b, g, s, v)``.
        weights: the lag weights of each of these experts, ``(b, t, r, g, l)``.
        rope: whether queries and keys are rotated.

    Returns:
        ``(b, t, r, h, v)``.
    """
    t, g, lags, scale = query.shape[1], key.shape[1], weights.shape[-1], query.shape[-1] ** -0.5
    turned = torch.stack([turn(query, -lag if rope else 0) for lag in range(lags)], dim=-2)
    # b t r (g n) l k -> b g (t r n l) k, where n are the query heads of a key head
    by_key_head = turned.unflatten(3, (g, -1)).movedim(3, 1)
    scores = (by_key_head.flatten(2, 5) @ key.mT).view(*by_key_head.shape[:-1], -1)
    share = weights.movedim(3, 1)[..., None, :, None].to(scores.dtype)
    landed = [share[..., lag, :] * _land(scores[..., lag, :], lag) for lag in range(lags)]
    seen = visible(t, key.shape[2], None, query.device)[:, None, None]
    attention_weights = (sum(landed[1:], landed[0]) * scale).masked_fill(~seen, -torch.inf).softmax(-1)
    mixed = (attention_weights.flatten(2, 4) @ value).view(*attention_weights.shape[:-1], -1)
    return mixed.movedim(1, 3).flatten(3, 4)


def _land(scores: Tensor, lag: int) -> Tensor:
    """Scores ``(..., s)`` of keys, moved to the tokens that see them at this lag; zero where there is no key."""
    return F.pad(scores, (lag, 0))[..., : scores.shape[-1]]


def attend_alone(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`expert_attention` of one expert that takes every token, so that nothing has to be sorted.

    Args:
        query: those of the last t tokens, ``(b, h, t, k)``.
        key: the expert's own combination of the lags, ``(b, g, s, k)``.
        value: ``(b, g, s, v)``.

    Returns:
        ``(b, h, t, v)``.
    """
    scale, past = query.shape[-1] ** -0.5, key.shape[2] - query.shape[2]
    first = CHUNK if past == 0 and query.device.type == "cpu" else 0
    # The fused causal kernel of a CPU computes what it masks. Once the start is cut off, `attend` goes by chunks.
    parts = [attend(query[:, :, :first], key[:, :, :first], value[:, :, :first], scale=scale)] if first else []
    if query.shape[2] > first:
        parts.append(attend(query[:, :, first:], key, value, scale=scale))
    return torch.cat(parts, dim=2)


def expert_attention_reference(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, *, rope: bool
) -> Tensor:
    """`expert_attention`, one row and head at a time."""
    group, scale = query.shape[1] // key.shape[1], query.shape[-1] ** -0.5
    lagged = lag_keys(key, weights.shape[-1], rope)
    t = len(query) // (rows.slots * len(lagged))
    mixed = []
    for row, (token, expert) in enumerate(zip(rows.token.tolist(), rows.expert.tolist(), strict=True)):
        sequence, seen = token // t, token % t + 1 + lagged.shape[3] - t
        for head, one in enumerate(query[row]):
            lags = zip(weights[expert, head // group], lagged[sequence, head // group, :, :seen], strict=True)
            scores = [weight * (keys @ one) * scale for weight, keys in lags]
            mixed.append(torch.stack(scores).sum(0).softmax(0) @ value[sequence, head // group, :seen])
    return torch.stack(mixed).unflatten(0, query.shape[:2])
