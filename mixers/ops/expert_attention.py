"""Attention of experts that share keys and values, but have queries and lag weights of their own.

The query of an expert at t scores token s by ``sum_l w_l <R_t q_t, R_s k_{s-l}> * k**-0.5``, where w are the weights
of the expert and ``R_t`` turns by position t (or not at all, without rotary positions). Queries and keys come turned,
each at its own position; a delayed key then lacks the turn of its lag: ``R_s k_{s-l} = R_l (R_{s-l} k_{s-l})``.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixers.ops.attention import attend
from mixers.ops.experts import Dispatch
from mixers.ops.lags import delay
from mixers.ops.rotary import rotate

BLOCK = 64
"""Queries of one expert and sequence that are scored together: fewer skip more of the keys that none of them sees."""


def expert_attention(query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, rope: bool) -> Tensor:
    """Let each row's query attend to its sequence by the lag weights of its expert.

    Both ways are exact. On a CPU with enough rows, each expert combines the lags of the keys once and its queries
    attend to those: the scores cost what they cost without lags. Elsewhere all slots and heads are query heads of one
    grouped attention over the lags side by side, a fixed set of large kernels whatever the routing.

    Args:
        query: the rows, which are the last t tokens of each sequence, ``(m, h, k)``.
        key: ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        weights: one weight an expert, key head and lag, counted from lag 0, ``(e, g, l)``.
        rows: whose row is whose.
        rope: whether queries and keys are rotated.

    Returns:
        ``(m, h, v)``.
    """
    enough = len(query) >= rows.counts.numel() * BLOCK // 2
    form = attend_by_expert if enough and query.device.type == "cpu" else attend_side_by_side
    return form(query, key, value, weights.to(key.dtype), rows, rope)


def attend_side_by_side(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, rope: bool
) -> Tensor:
    """`expert_attention` as one attention of ``[w_0 q_t, ..., w_L q_t]`` to ``[k_s, ..., k_{s-L}]``."""
    (b, g), lags = key.shape[:2], weights.shape[-1]
    by_head = weights[rows.expert].repeat_interleave(query.shape[1] // g, dim=1)
    # A query turned back by the lag meets the delayed key as if the key had been turned on by it.
    turned = [_turn(query, -lag) if rope else query for lag in range(lags)]
    wide_query = torch.cat([by_head[..., lag, None] * turned[lag] for lag in range(lags)], dim=-1)
    wide_key = torch.cat([delay(key, lag) for lag in range(lags)], dim=-1)
    # (b t r) (g h) k -> b (g h r) t k: the slots of a token are more query heads of the same key head.
    slots = wide_query[rows.place].view(b, -1, rows.slots, *wide_query.shape[1:]).permute(0, 3, 2, 1, 4).flatten(1, 2)
    mixed = attend(slots, wide_key, value, scale=query.shape[-1] ** -0.5)
    return mixed.unflatten(1, (-1, rows.slots)).permute(0, 3, 2, 1, 4).flatten(0, 2)[rows.order]


def attend_by_expert(query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, rope: bool) -> Tensor:
    """`expert_attention` of each expert to its own combination of the lags, a block of queries at a time."""
    position = rows.token % (len(query) // (rows.slots * len(key)))
    position = position + key.shape[2] - len(query) // (rows.slots * len(key))
    mixed: Tensor = _attend_by_cell(query, combine_lags(key, weights, rope), value, position, rows.counts)
    return mixed


def combine_lags(key: Tensor, weights: Tensor, rope: bool) -> Tensor:
    """Each expert's keys, ``sum_l w_l R_l k_{s-l}``: ``(b, g, s, k)`` and ``(e, g, l)`` to ``(g, e, b, s, k)``."""
    by_head = key.transpose(0, 1)
    turned = [_turn(delay(by_head, lag), lag) if rope else delay(by_head, lag) for lag in range(weights.shape[-1])]
    combined = weights.transpose(0, 1) @ torch.stack(turned, dim=1).flatten(2)
    return combined.unflatten(2, by_head.shape[1:])


def expert_attention_reference(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, rows: Dispatch, rope: bool
) -> Tensor:
    """`expert_attention`, one row, head and key at a time."""
    heads, group, scale = query.shape[1], query.shape[1] // key.shape[1], query.shape[-1] ** -0.5
    t = len(query) // (rows.slots * len(key))
    mixed = []
    for row, expert in enumerate(rows.expert.tolist()):
        sequence, read = divmod(int(rows.token[row]), t)
        for head in range(heads):
            keys, values = key[sequence, head // group], value[sequence, head // group]
            now, scores = len(keys) - t + read, []
            for s in range(now + 1):
                delayed = [(_turn(keys[s - lag], lag) if rope else keys[s - lag]) for lag in range(min(s, weights.shape[-1] - 1) + 1)]
                scores.append(sum(w * (query[row, head] @ k) for w, k in zip(weights[expert, head // group], delayed)) * scale)
            mixed.append(torch.stack(scores).softmax(0) @ values[: now + 1])
    return torch.stack(mixed).unflatten(0, (-1, heads))


def _turn(x: Tensor, steps: int) -> Tensor:
    """Rotate all of ``(..., k)`` by the same number of positions."""
    return rotate(x.reshape(1, -1, 1, x.shape[-1]), steps).view(x.shape) if steps else x


class _Cell(NamedTuple):
    """A block of one expert's queries in one sequence, and how many keys the last of them sees."""

    expert: int
    sequence: int
    queries: slice
    seen: int


def _cells(position: Tensor, counts: Tensor) -> Iterator[_Cell]:
    blocks, start = [], 0
    for expert, by_sequence in enumerate(counts.tolist()):
        for sequence, count in enumerate(by_sequence):
            blocks += [(expert, sequence, slice(i, min(i + BLOCK, start + count))) for i in range(start, start + count, BLOCK)]
            start += count
    seen = (position[[queries.stop - 1 for _, _, queries in blocks]] + 1).tolist()
    return (_Cell(*block, keys) for block, keys in zip(blocks, seen, strict=True))


# Its shapes hang on the routing, so torch.compile has to take it as it is.
@torch.library.custom_op("mixer_zoo::attend_by_cell", mutates_args=())
def _attend_by_cell(query: Tensor, key: Tensor, value: Tensor, position: Tensor, counts: Tensor) -> Tensor:
    mixed = query.new_empty(*query.shape[:2], value.shape[-1])
    for cell in _cells(position, counts):
        share = _shares(query, key, position, cell)
        mixed[cell.queries] = _from_key_heads(share @ value[cell.sequence, :, : cell.seen], len(mixed[cell.queries]))
    return mixed


@torch.library.custom_op("mixer_zoo::attend_by_cell_backward", mutates_args=())
def _attend_by_cell_backward(
    gradient: Tensor, mixed: Tensor, query: Tensor, key: Tensor, value: Tensor, position: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    groups, scale = len(key), query.shape[-1] ** -0.5
    to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
    mean = (gradient * mixed).sum(-1, keepdim=True)
    for cell in _cells(position, counts):
        k, v = key[:, cell.expert, cell.sequence, : cell.seen], value[cell.sequence, :, : cell.seen]
        share = _shares(query, key, position, cell)
        q, out, m = (_by_key_head(x[cell.queries], groups) for x in (query, gradient, mean))
        to_value[cell.sequence, :, : cell.seen].baddbmm_(share.mT, out)
        to_score = (out @ v.mT).sub_(m).mul_(share).mul_(scale)
        to_query[cell.queries] = _from_key_heads(to_score @ k, len(mixed[cell.queries]))
        to_key[:, cell.expert, cell.sequence, : cell.seen].baddbmm_(to_score.mT, q)
    return to_query, to_key, to_value


def _shares(query: Tensor, key: Tensor, position: Tensor, cell: _Cell) -> Tensor:
    """The softmax of a cell's scores, ``(g, h * n, s)``, with the heads of each key head one after the other."""
    q, k = _by_key_head(query[cell.queries], len(key)), key[:, cell.expert, cell.sequence, : cell.seen]
    later = position[cell.queries, None] < torch.arange(cell.seen, device=position.device)
    mask = torch.zeros(later.shape, dtype=q.dtype, device=q.device).masked_fill_(later, -torch.inf)
    # As the start of the sum a mask costs nothing; filling it in costs half as much as the scores.
    return torch.baddbmm(mask.repeat(q.shape[1] // len(mask), 1), q, k.mT, alpha=query.shape[-1] ** -0.5).softmax(-1)


def _by_key_head(x: Tensor, groups: int) -> Tensor:
    """``(n, (g h), k)`` to ``(g, (h n), k)``."""
    return x.unflatten(1, (groups, -1)).permute(1, 2, 0, 3).flatten(1, 2)


def _from_key_heads(x: Tensor, n: int) -> Tensor:
    """``(g, (h n), k)`` to ``(n, (g h), k)``."""
    return x.unflatten(1, (-1, n)).permute(2, 0, 1, 3).flatten(1, 2)


@_attend_by_cell.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, position: Tensor, counts: Tensor) -> Tensor:
    return query.new_empty(*query.shape[:2], value.shape[-1])


@_attend_by_cell_backward.register_fake
def _(gradient, mixed, query, key, value, position, counts):
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _setup(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, *inputs)


def _backward(ctx: Any, gradient: Tensor):
    return *_attend_by_cell_backward(gradient, *ctx.saved_tensors), None, None


_attend_by_cell.register_autograd(_backward, setup_context=_setup)
