"""Attention of experts on a CPU, where each has few queries in a sequence: all of them in a few large products."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mixers.ops.lagged_keys import lag_keys, lag_keys_backward

ROWS = 96
"""Queries of an expert in one sequence that are scored together: fewer skip more of the keys that none of them sees."""

SCORES = 2**20
"""So many scores are computed at once, at least those of one sequence: they should stay in the cache."""


class _Block(NamedTuple):
    """Some sequences, some queries of each expert in them, and how many keys the last of these sees."""

    sequences: slice
    rows: slice
    seen: int


class _Grid:
    """The rows as a grid, ``(b, e, n)``: an expert's queries in one sequence side by side, n those of the busiest.

    Elsewhere the grid is filled up: with queries that see the first token, and that nobody asks about.

    Args:
        position: of each row in its sequence, in the order of a `Dispatch`, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        groups: the key heads, g.
        heads: query heads of a key head, h.
    """

    def __init__(self, position: Tensor, counts: Tensor, groups: int, heads: int) -> None:
        self.shape = (*counts.T.shape, int(counts.max()))
        self.groups, self.heads = groups, heads
        column = torch.arange(self.shape[-1], device=counts.device)
        self.taken = column < counts.T[..., None]
        first = (counts.flatten().cumsum(0).view_as(counts) - counts).T
        self.row = torch.where(self.taken, first[..., None] + column, 0)
        self.position = torch.where(self.taken, position[self.row], 0)
        cell = torch.arange(self.taken.numel(), device=counts.device).view(self.shape)
        self.cell = torch.empty_like(position).index_copy_(0, self.row[self.taken], cell[self.taken])

    def spread(self, x: Tensor) -> Tensor:
        """Rows ``(m, g * h, k)`` to ``(g, b, e, h, n, k)``."""
        rows = x.unflatten(1, (self.groups, self.heads)).permute(1, 2, 0, 3).index_select(2, self.row.flatten())
        return rows.unflatten(2, self.shape).permute(0, 2, 3, 1, 4, 5)

    def collect(self, x: Tensor) -> Tensor:
        """What `spread` does, taken back."""
        rows = x.permute(0, 3, 1, 2, 4, 5).flatten(2, 4).index_select(2, self.cell)
        return rows.permute(2, 0, 1, 3).flatten(1, 2).contiguous()

    def blocks(self, tokens: int) -> Iterator[_Block]:
        """Cut it into pieces of so many scores, for keys of so many tokens."""
        sequences, experts, n = self.shape
        together = max(1, SCORES // (self.groups * self.heads * experts * min(n, ROWS) * tokens))
        last = self.position.amax((0, 1)).tolist()
        for first in range(0, sequences, together):
            for start in range(0, n, ROWS):
                rows = slice(start, min(start + ROWS, n))
                yield _Block(slice(first, first + together), rows, max(last[rows]) + 1)

    def hidden(self, block: _Block) -> Tensor:
        """Which keys are hidden from which queries of a block, for all heads: boolean, ``(b, e, 1, n, s)``."""
        keys = torch.arange(block.seen, device=self.position.device)
        return keys > self.position[block.sequences, :, None, block.rows, None]


class _Keys:
    """The keys of all experts and the values, by key head.

    Args:
        key, value: ``(b, g, s, k)``.
        weights: the lag weights, ``(g, e, l)``.
        rope: whether keys are rotated.
    """

    def __init__(self, key: Tensor, value: Tensor, weights: Tensor, rope: bool) -> None:
        self.weights, self.rope = weights[:, None], rope
        self.lagged = lag_keys(key.transpose(0, 1), weights.shape[-1], rope)
        self.keys = (self.weights @ self.lagged.flatten(3)).unflatten(3, self.lagged.shape[3:])
        self.values = value.transpose(0, 1).contiguous()

    def seen(self, block: _Block) -> tuple[Tensor, Tensor]:
        """Those that a block sees: keys ``(g * b * e, s, k)`` and values ``(g * b, s, k)``."""
        keys, values = self.keys[:, block.sequences, :, : block.seen], self.values[:, block.sequences, : block.seen]
        return keys.flatten(0, 2), values.flatten(0, 1)

    def differentiate(self, to_keys: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the keys before the lags, ``(b, g, s, k)``, and of the weights."""
        of_keys = to_keys.to(self.keys.dtype).flatten(3)
        to_lagged = (self.weights.mT @ of_keys).view_as(self.lagged)
        to_weights = (of_keys @ self.lagged.flatten(3).mT).sum(1)
        return lag_keys_backward(to_lagged, self.rope).transpose(0, 1), to_weights


def attend_grid(  # noqa: PLR0917 - as the operator that it is part of
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, position: Tensor, counts: Tensor, rope: bool
) -> Tensor:
    """Let each expert's queries attend to its own combination of the lags, all experts at once.

    Experts that have fewer queries than the busiest one are filled up to it. To differentiate, the scores are made
    anew: memory grows as e * t, not as t * s. In half precision scores and weights are rounded to it, as in
    `attend_by_products`.

    Args:
        query: the rows of all experts, in the order of a `Dispatch`, ``(m, h, k)``.
        key: ``(b, g, s, k)``, rotated at their own positions.
        value: ``(b, g, s, k)``.
        weights: the lag weights by key head, ``(g, e, l)``.
        position: of each row in its sequence, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        rope: whether queries and keys are rotated.

    Returns:
        ``(m, h, k)``.
    """
    with torch.autocast("cpu", enabled=False):
        grid, keys = _prepare(query, key, value, weights, position, counts, rope)
        queries = grid.spread(query)
        mixed = torch.empty_like(queries)
        for block in grid.blocks(key.shape[2]):
            attention, _ = _attention_weights(_part(queries, block), keys, grid, block)
            values = keys.seen(block)[1]
            part = mixed[:, block.sequences, :, :, block.rows]
            part.copy_((attention.view(len(values), -1, block.seen) @ values).view(part.shape))
        return grid.collect(mixed)


def attend_grid_backward(  # noqa: PLR0917
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    position: Tensor,
    counts: Tensor,
    rope: bool,
) -> tuple[Tensor, ...]:
    """The gradients of query, key, value and weights."""
    grid, keys = _prepare(query, key, value, weights, position, counts, rope)
    queries, outs = grid.spread(query), grid.spread(gradient)
    outs = outs * grid.taken[:, :, None, :, None]
    wide = torch.promote_types(key.dtype, torch.float32)  # these are sums over blocks
    to_keys, to_values = torch.zeros_like(keys.keys, dtype=wide), torch.zeros_like(keys.values, dtype=wide)
    to_queries, scale = torch.empty_like(queries), query.shape[-1] ** -0.5
    for block in grid.blocks(key.shape[2]):
        of_experts, values = keys.seen(block)
        attention, rows = _attention_weights(_part(queries, block), keys, grid, block)
        together, out = (
            attention.view(len(values), -1, block.seen),
            _part(outs, block).reshape(len(values), -1, values.shape[-1]),
        )
        of_values = to_values[:, block.sequences, : block.seen]
        of_values += (together.mT @ out).view(of_values.shape)
        to_scores = torch._softmax_backward_data(out @ values.mT, together, -1, together.dtype).view(attention.shape)
        of_queries = to_queries[:, block.sequences, :, :, block.rows]
        of_queries.copy_(_product(to_scores, of_experts, scale).view(of_queries.shape))
        of_keys = to_keys[:, block.sequences, :, : block.seen]
        of_keys += _product(to_scores.mT, rows, scale).view(of_keys.shape)
    to_key, to_weights = keys.differentiate(to_keys)
    # laid out as what they are the gradients of
    of_arguments = (torch.empty_like(x).copy_(y) for x, y in ((key, to_key), (value, to_values.transpose(0, 1))))
    return grid.collect(to_queries), *of_arguments, torch.empty_like(weights).copy_(to_weights)


def _prepare(  # noqa: PLR0917
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, position: Tensor, counts: Tensor, rope: bool
) -> tuple[_Grid, _Keys]:
    groups = len(weights)
    return _Grid(position, counts, groups, query.shape[1] // groups), _Keys(key, value, weights, rope)


def _part(x: Tensor, block: _Block) -> Tensor:
    """A block of ``(g, b, e, h, n, k)``."""
    return x[:, block.sequences, :, :, block.rows]


def _attention_weights(query: Tensor, keys: _Keys, grid: _Grid, block: _Block) -> tuple[Tensor, Tensor]:
    """The causal softmax of the scores of a block, ``(g * b * e, h * n, s)``, and its queries, so laid out."""
    rows = query.reshape(-1, query.shape[3] * query.shape[4], query.shape[5])
    scores = _product(rows, keys.seen(block)[0].mT, query.shape[-1] ** -0.5)
    scores.view(*query.shape[:5], block.seen).masked_fill_(grid.hidden(block), -torch.inf)
    return scores.softmax(-1), rows


def _product(first: Tensor, second: Tensor, factor: float) -> Tensor:
    """Batches of matrices, ``factor * first @ second``."""
    return torch.baddbmm(first.new_empty(()), first, second, beta=0, alpha=factor)
