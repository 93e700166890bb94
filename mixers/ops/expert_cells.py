"""Attention on a CPU, cell by cell: a block of the queries that one expert has in one sequence."""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from mixers.ops.lagged_keys import lag_keys, lag_keys_backward

BLOCK = 32
"""Queries that are scored together: fewer skip more of the keys that none of them sees."""


class _Cell(NamedTuple):
    """Some of an expert's queries in one sequence, and how many keys the last of them sees."""

    expert: int
    rows: slice
    seen: int


class _Rows:
    """The rows of all sequences, one sequence after the other, within that by expert, within that by time.

    Args:
        position: of each row in its sequence, in the order of a `Dispatch`, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        groups: the key heads.
    """

    def __init__(self, position: Tensor, counts: Tensor, groups: int) -> None:
        (experts, sequences), self.counts, self.groups = counts.shape, counts, groups
        sequence = torch.arange(sequences, device=counts.device).repeat(experts)
        self.order = sequence.repeat_interleave(counts.flatten()).argsort(stable=True)
        self.position = position[self.order]

    def by_head(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """``(m, g * h, k)``, in the order of a `Dispatch`, as ``(g, h, m, k)``, in this one."""
        return x.unflatten(1, (self.groups, -1)).permute(1, 2, 0, 3).index_select(2, self.order).to(dtype)

    def put_back(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """What `by_head` does, taken back."""
        rows = x.permute(2, 0, 1, 3).flatten(1, 2).to(dtype)
        return rows.new_empty(rows.shape).index_copy_(0, self.order, rows)

    def cells(self) -> Iterator[tuple[slice, list[_Cell]]]:
        """The rows of each sequence, and its cells."""
        blocks, start = [], 0
        for sequence, sizes in enumerate(self.counts.T.tolist()):
            for expert, size in enumerate(sizes):
                stop, step = start + size, -(-size // max(round(size / BLOCK), 1)) or 1
                starts = range(start, stop, step)
                blocks += [(sequence, expert, slice(first, min(first + step, stop))) for first in starts]
                start = stop
        seen = (self.position[[rows.stop - 1 for _, _, rows in blocks]] + 1).tolist()
        for _, own in groupby(zip(blocks, seen, strict=True), key=lambda pair: pair[0][0]):
            cells = [_Cell(expert, rows, keys) for (_, expert, rows), keys in own]
            yield slice(cells[0].rows.start, cells[-1].rows.stop), cells


class _Sequence:
    """Keys, values and masks of one sequence, and attention of its cells to them.

    Args:
        lagged: the keys at every lag, ``(g, l, s, k)``.
        value: ``(g, s, k)``.
        weights: the lag weights, ``(g, e, l)``.
        position: of its rows.
        rows: where they are among the rows of all sequences.
        heads: query heads of a key head, h.
        dtype: in which it is computed.
    """

    def __init__(  # noqa: PLR0917
        self,
        lagged: Tensor,
        value: Tensor,
        weights: Tensor,
        position: Tensor,
        rows: slice,
        heads: int,
        dtype: torch.dtype,
    ) -> None:
        with torch.autocast("cpu", enabled=False):
            combined = weights.to(dtype) @ lagged.to(dtype).flatten(2)
        self.keys = combined.unflatten(2, lagged.shape[2:])[:, :, None].expand(-1, -1, heads, -1, -1)
        self.values = value.to(dtype)[:, None].expand(-1, heads, -1, -1)
        self.start, self.scale, seen = rows.start, value.shape[-1] ** -0.5, value.shape[1]
        # each row of a causal mask is a window of the same row: zeros, then minus infinities
        ramp = self.values.new_zeros(2 * seen)
        ramp[seen:] = -torch.inf
        self.mask = ramp.unfold(0, seen, 1).index_select(0, seen - 1 - position[rows])

    def attend(self, cell: _Cell, query: Tensor) -> tuple[Tensor, Tensor]:
        """What the queries of a cell read, ``(g, h, n, k)``, and the logarithms of their sums, ``(g, h, n)``."""
        written: tuple[Tensor, Tensor] = _attend(query, *self._seen(cell), attn_mask=self._mask(cell), scale=self.scale)
        return written

    def differentiate(self, cell: _Cell, gradient: Tensor, query: Tensor, *written: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the queries, ``(g, h, n, k)``, and of the keys and values that they see, ``(g, s, k)``."""
        keys, values = self._seen(cell)
        of_query, *others = _attend_backward(
            gradient, query, keys, values, *written, attn_mask=self._mask(cell), scale=self.scale
        )
        return of_query, *(x[:, 0] if x.shape[1] == 1 else x.sum(1) for x in others)

    def _seen(self, cell: _Cell) -> tuple[Tensor, Tensor]:
        return self.keys[:, cell.expert, :, : cell.seen], self.values[:, :, : cell.seen]

    def _mask(self, cell: _Cell) -> Tensor:
        return self.mask[None, None, cell.rows.start - self.start : cell.rows.stop - self.start, : cell.seen]


_attend = partial(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu, dropout_p=0.0, is_causal=False)
_attend_backward = partial(
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward, dropout_p=0.0, is_causal=False
)


def attend_cells(  # noqa: PLR0917 - as the operator that it is part of
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, position: Tensor, counts: Tensor, rope: bool
) -> tuple[Tensor, Tensor]:
    """Let each expert's queries attend to its own combination of the lags, a cell at a time.

    Memory grows as t, not as t * s: to differentiate, the scores are made anew. In half precision it is computed in
    float32, for which torch has the faster kernel.

    Args:
        query: the rows of all experts, in the order of a `Dispatch`, ``(m, h, k)``.
        key: ``(b, g, s, k)``, rotated at their own positions.
        value: ``(b, g, s, k)``.
        weights: the lag weights by key head, ``(g, e, l)``.
        position: of each row in its sequence, ``(m,)``.
        counts: rows of each expert in each sequence, ``(e, b)``.
        rope: whether queries and keys are rotated.

    Returns:
        What each row reads, ``(m, h, k)``, and the logarithms of the sums of its exponentiated scores,
        ``(g, h / g, m)``, in an order of their own.
    """
    order, dtype = _Rows(position, counts, len(weights)), torch.promote_types(query.dtype, torch.float32)
    queries = order.by_head(query, dtype)
    writes, totals = torch.empty_like(queries), queries.new_empty(queries.shape[:3])
    for index, (rows, cells) in enumerate(order.cells()):
        lagged = lag_keys(key[index], weights.shape[-1], rope)
        sequence = _Sequence(lagged, value[index], weights, order.position, rows, queries.shape[1], dtype)
        for cell in cells:
            writes[:, :, cell.rows], totals[:, :, cell.rows] = sequence.attend(cell, queries[:, :, cell.rows])
    return order.put_back(writes, query.dtype), totals


def attend_cells_backward(  # noqa: PLR0917
    gradient: Tensor,
    mixed: Tensor,
    totals: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    position: Tensor,
    counts: Tensor,
    rope: bool,
) -> tuple[Tensor, ...]:
    """The gradients of query, key, value and weights."""
    order, dtype = _Rows(position, counts, len(weights)), totals.dtype
    outs, queries, writes = (order.by_head(x, dtype) for x in (gradient, query, mixed))
    to_queries, to_weights = torch.empty_like(queries), torch.zeros_like(weights)
    to_key, to_value = torch.empty_like(key), torch.empty_like(value)
    for index, (rows, cells) in enumerate(order.cells()):
        lagged = lag_keys(key[index], weights.shape[-1], rope)
        sequence = _Sequence(lagged, value[index], weights, order.position, rows, queries.shape[1], dtype)
        to_keys = queries.new_zeros(len(weights), len(counts), *key.shape[2:])
        to_values = queries.new_zeros(len(weights), *key.shape[2:])
        for cell in cells:
            out, *given = (x[:, :, cell.rows] for x in (outs, queries, writes, totals))
            to_queries[:, :, cell.rows], of_key, of_value = sequence.differentiate(cell, out, *given)
            to_keys[:, cell.expert, : cell.seen] += of_key
            to_values[:, : cell.seen] += of_value
        to_value[index], of_lags = to_values, to_keys.to(key.dtype).flatten(2)
        to_key[index] = lag_keys_backward((weights.mT @ of_lags).view_as(lagged), rope)
        to_weights += of_lags @ lagged.flatten(2).mT
    return order.put_back(to_queries, query.dtype), to_key, to_value, to_weights
