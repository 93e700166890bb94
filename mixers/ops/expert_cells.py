"""Attention on a CPU, cell by cell: a block of the queries that one expert has in one sequence."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from mixers.ops.lagged_keys import lag_keys, lag_keys_backward

BLOCK = 64
"""Queries that are scored together: fewer skip more of the keys that none of them sees."""


class _Cell(NamedTuple):
    """Some of an expert's queries in one sequence, and how many keys the last of them sees."""

    sequence: int
    expert: int
    rows: slice
    seen: int

    def of(self, x: Tensor) -> Tensor:
        """Its part of ``(g, h, m, k)``, with the heads of a key head one after the other: ``(g, h * n, k)``."""
        return x[:, :, self.rows].flatten(1, 2)


def _cells(position: Tensor, counts: Tensor) -> Iterator[tuple[int, list[_Cell]]]:
    """The cells of each sequence."""
    blocks, stops = [], counts.flatten().cumsum(0).view_as(counts).T.tolist()
    for sequence, sizes in enumerate(counts.T.tolist()):
        for expert, size in enumerate(sizes):
            stop, step = stops[sequence][expert], -(-size // max(round(size / BLOCK), 1)) or 1
            starts = range(stop - size, stop, step)
            blocks += [(sequence, expert, slice(start, min(start + step, stop))) for start in starts]
    seen = (position[[rows.stop - 1 for _, _, rows in blocks]] + 1).tolist()
    cells = [_Cell(*block, keys) for block, keys in zip(blocks, seen, strict=True)]
    return ((sequence, list(own)) for sequence, own in groupby(cells, key=lambda cell: cell.sequence))


# What these two do depends on the routing, which torch.compile cannot look into: to it they are single operators.
@torch.library.custom_op("mixer_zoo::attend_cells", mutates_args=())
def attend_cells(  # noqa: PLR0917 - operators take their tensors by place
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, position: Tensor, counts: Tensor, rope: bool
) -> Tensor:
    """Let each expert's queries attend to its own combination of the lags, a cell at a time.

    To differentiate, the scores are made anew rather than kept: memory grows as t, not as t * s.

    Args:
        query: the rows of all experts, in the order of a `Dispatch`, ``(m, h, k)``.
        key: ``(b, g, s, k)``, rotated at their own positions.
        value: ``(b, g, s, v)``.
        weights: the lag weights by key head, ``(g, e, l)``.
        position: of each row in its sequence, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        rope: whether queries and keys are rotated.

    Returns:
        ``(m, h, v)``.
    """
    mixed = query.new_empty(*query.shape[:2], value.shape[-1])
    queries, writes = (_by_key_head(x, len(weights)) for x in (query, mixed))
    for sequence, cells in _cells(position, counts):
        keys = _by_expert(lag_keys(key[sequence], weights.shape[-1], rope), weights)
        for cell in cells:
            q, k, v = cell.of(queries), keys[:, cell.expert, : cell.seen], value[sequence, :, : cell.seen]
            write = _attention_weights(q, k, position[cell.rows]) @ v
            writes[:, :, cell.rows] = write.unflatten(1, writes[:, :, cell.rows].shape[1:3])
    return mixed


@torch.library.custom_op("mixer_zoo::attend_cells_backward", mutates_args=())
def attend_cells_backward(  # noqa: PLR0917
    gradient: Tensor,
    mixed: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    position: Tensor,
    counts: Tensor,
    rope: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of query, key, value and weights."""
    to_query, to_key = torch.empty_like(query), torch.empty_like(key)
    to_value, to_weights = torch.zeros_like(value), torch.zeros_like(weights)
    mean, scale = (gradient * mixed).sum(-1, keepdim=True), query.shape[-1] ** -0.5
    queries, to_queries, outs, means = (_by_key_head(x, len(weights)) for x in (query, to_query, gradient, mean))
    for sequence, cells in _cells(position, counts):
        lagged = lag_keys(key[sequence], weights.shape[-1], rope)
        keys = _by_expert(lagged, weights)
        to_keys = torch.zeros_like(keys)
        for cell in cells:
            q, k, v = cell.of(queries), keys[:, cell.expert, : cell.seen], value[sequence, :, : cell.seen]
            attention, out = _attention_weights(q, k, position[cell.rows]), cell.of(outs)
            to_value[sequence, :, : cell.seen] += attention.mT @ out
            to_score = (out @ v.mT).sub_(cell.of(means)).mul_(attention)
            to_queries[:, :, cell.rows] = (to_score @ k).unflatten(1, to_queries[:, :, cell.rows].shape[1:3])
            to_keys[:, cell.expert, : cell.seen] += to_score.mT @ q
        to_keys *= scale
        to_key[sequence] = lag_keys_backward((weights.mT @ to_keys.flatten(2)).view_as(lagged), rope)
        to_weights += to_keys.flatten(2) @ lagged.flatten(2).mT
    return to_query.mul_(scale), to_key, to_value, to_weights


def _by_key_head(x: Tensor, groups: int) -> Tensor:
    """A view of ``(m, (g h), k)`` as ``(g, h, m, k)``."""
    return x.unflatten(1, (groups, -1)).permute(1, 2, 0, 3)


def _by_expert(lagged: Tensor, weights: Tensor) -> Tensor:
    """The keys of all experts in one sequence: ``(g, l, s, k)`` and ``(g, e, l)`` to ``(g, e, s, k)``."""
    return (weights @ lagged.flatten(2)).unflatten(2, lagged.shape[2:])


def _attention_weights(query: Tensor, key: Tensor, position: Tensor) -> Tensor:
    """The causal softmax of a cell's scores: ``(g, h * n, k)``, ``(g, s, k)``, ``(n,)`` to ``(g, h * n, s)``."""
    seen = key.shape[1]
    # Each row of a causal mask is a window of the same row: zeros, then minus infinities. The product starts from
    # the mask, which costs nothing; filling it in afterwards would cost half as much as the product.
    ramp = query.new_zeros(2 * seen)
    ramp[seen:] = -torch.inf
    mask = ramp.unfold(0, seen, 1).index_select(0, seen - 1 - position)
    mask = mask.expand(query.shape[1] // len(mask), -1, -1).flatten(0, 1)
    return torch.baddbmm(mask, query, key.mT, alpha=query.shape[-1] ** -0.5).softmax(-1)


@attend_cells.register_fake
def _(query: Tensor, _k: Tensor, value: Tensor, _w: Tensor, _p: Tensor, _c: Tensor, _r: bool) -> Tensor:
    return query.new_empty(*query.shape[:2], value.shape[-1])


@attend_cells_backward.register_fake
def _(_g: Tensor, _m: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x) for x in inputs[:4])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.rope = inputs
    ctx.save_for_backward(output, *tensors)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return (*attend_cells_backward(gradient, *ctx.saved_tensors, ctx.rope), None, None, None)


attend_cells.register_autograd(_differentiate, setup_context=_keep)


# How many keys a query sees depends on the routing: counted are all, as torch counts causal attention.
@register_flop_formula(torch.ops.mixer_zoo.attend_cells)
def _count(
    query: torch.Size, key: torch.Size, value: torch.Size, weights: torch.Size, _p: Any, _c: Any, rope: bool, **_: Any
) -> int:
    scored = query[:2].numel() * key[2]
    return 2 * scored * (key[3] + value[3]) + _combining(key, weights) + rope * _turning(key, weights)


@register_flop_formula(torch.ops.mixer_zoo.attend_cells_backward)
def _count_backward(_gradient: Any, _mixed: Any, *inputs: Any, **_: Any) -> int:
    """The scores anew and four gradients; the lags anew, their gradients and those of their weights."""
    query, key, value, weights, _, _, rope = inputs
    scored = query[:2].numel() * key[2]
    return 2 * scored * (3 * key[3] + 2 * value[3]) + 3 * _combining(key, weights) + 2 * rope * _turning(key, weights)


def _combining(key: torch.Size, weights: torch.Size) -> int:
    """Adding up the lags of all keys once for each expert."""
    return 2 * key.numel() * weights[1] * weights[2]


def _turning(key: torch.Size, weights: torch.Size) -> int:
    """Rotating all keys once for each lag but the first: two multiply-adds a channel."""
    return 4 * key.numel() * (weights[2] - 1)
