"""Causal softmax attention in half precision as matrix products over blocks, for CPUs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mixers.ops.materialize import materialize

LARGEST, SMALLEST = 128, 64
"""Queries in a block: few skip more of what is masked, many make larger products. Short sequences want small blocks."""

KEPT = 2
"""Attention weights are kept for the backward pass where they are at most so many times as large as the arguments."""


class Scope(NamedTuple):
    """What `attend_by_products` was asked beside its tensors."""

    scale: float
    window: int | None
    lags: int


class Block(NamedTuple):
    """Some queries, and all keys that one of them sees.

    Attributes:
        queries, keys: where they are.
        masked: from which of its keys on some are hidden from some of its queries.
        hidden: boolean, which of those from which of its queries, ``(n, m)``; None of a single query, which sees all.
    """

    queries: slice
    keys: slice
    masked: int
    hidden: Tensor | None

    @property
    def size(self) -> int:
        """How many queries there are."""
        return self.queries.stop - self.queries.start


def attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None = None, lags: int = 1
) -> Tensor:
    """Causal attention of the last t of s tokens, head first; each query sees a prefix, or the end of one.

    Products of matrices keep the units of a CPU for bfloat16 busy, and torch's fused kernel leaves them idle for short
    sequences: for 256 tokens this takes half of its time. Scores and weights are rounded to the precision of the
    arguments, as they are wherever attention in half precision is written out; the softmax is summed in float32.

    Args:
        query: ``(b, h, t, k)``, those of the last t tokens.
        key: ``(b, g, s * lags, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s * lags, v)``.
        scale: the factor on the scores.
        window: how many tokens a query sees, its own included; None for all.
        lags: how many keys each token has, side by side.

    Returns:
        ``(b, h, t, v)``.
    """
    mixed: Tensor = _Attention.apply(query, key, value, Scope(scale, window, lags))
    return mixed


class _Attention(torch.autograd.Function):
    """Heads lie first: queries are ``(b * g, r, t, k)``, of r heads that share keys, ``(b * g, s * lags, k)``."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scope: Scope) -> Tensor:
        (b, h, t, _), g = query.shape, key.shape[1]
        queries = query.reshape(b * g, h // g, t, query.shape[-1])
        keys, values = key.flatten(0, 1), value.flatten(0, 1)
        blocks = list(_blocks(t, keys.shape[1], scope, query.device))
        weights = [_weights(queries, keys, block, scope.scale) for block in blocks]
        mixed = [
            (of_block @ values[:, block.keys]).view(b, h, block.size, value.shape[-1]).transpose(1, 2)
            for of_block, block in zip(weights, blocks, strict=True)
        ]
        ctx.scope, ctx.shapes = scope, (query.shape, key.shape, value.shape)
        arguments = (queries, keys, values)
        kept = sum(x.numel() for x in weights) <= KEPT * sum(x.numel() for x in arguments)
        ctx.save_for_backward(*arguments, *(weights if kept else []))
        return torch.cat(mixed, dim=1).transpose(1, 2)  # so laid out that heads merge without a copy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, *kept = ctx.saved_tensors
        scale, (r, t) = ctx.scope.scale, queries.shape[1:3]
        gradients = gradient.reshape(len(keys), r, t, gradient.shape[-1])
        to_query: list[Tensor] = []
        wide = torch.promote_types(keys.dtype, torch.float32)  # these are sums over blocks
        to_key, to_value = torch.zeros_like(keys, dtype=wide), torch.zeros_like(values, dtype=wide)
        for number, block in enumerate(_blocks(t, keys.shape[1], ctx.scope, keys.device)):
            weights = kept[number] if kept else _weights(queries, keys, block, scale)
            query, coming = _rows(queries, block), _rows(gradients, block)
            to_weights = coming @ values[:, block.keys].mT
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            of_block = _product(to_scores, keys[:, block.keys], scale)
            to_query.append(of_block.unflatten(1, (r, block.size)))
            to_key[:, block.keys] += _product(to_scores.mT, query, scale)
            to_value[:, block.keys] += weights.mT @ coming
        of_query, of_key, of_value = ctx.shapes
        return (
            torch.cat(to_query, dim=2).view(of_query),
            to_key.to(keys.dtype).view(of_key),
            to_value.to(values.dtype).view(of_value),
            None,
        )


def _blocks(t: int, pairs: int, scope: Scope, device: torch.device) -> Iterator[Block]:
    """Cut the last t tokens of those that have so many pairs of a token and a lag."""
    _, window, lags = scope
    s = pairs // lags
    size = min(max(t // 2, SMALLEST), LARGEST)
    for start in range(0, t, size):
        stop = min(start + size, t)
        before = s - t + start
        first, last = 0 if window is None else max(before - window + 1, 0), s - t + stop
        keys = slice(first * lags, last * lags)
        if stop - start == 1:
            yield Block(slice(start, stop), keys, 0, None)
            continue
        # generated code fuses a mask of the whole block, and makes slow code of one that changes a part in place
        masked = first if torch.compiler.is_compiling() or window is not None else before
        distance = torch.arange(before, last, device=device)[:, None] - torch.arange(masked, last, device=device)
        hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
        hidden = hidden.repeat_interleave(lags, dim=1) if lags > 1 else hidden
        yield Block(slice(start, stop), keys, (masked - first) * lags, hidden)


def _weights(queries: Tensor, keys: Tensor, block: Block, scale: float) -> Tensor:
    """The attention weights of a block, ``(b * g, r * n, m)``."""
    scores = _product(_rows(queries, block), keys[:, block.keys].mT, scale)
    if block.hidden is None:
        return scores.softmax(-1)
    by_head = scores.unflatten(1, (queries.shape[1], block.size))
    if torch.compiler.is_compiling():
        bias = torch.zeros_like(block.hidden, dtype=torch.float32).masked_fill(block.hidden, -torch.inf)
        return (by_head + materialize(bias)).softmax(-1).to(scores.dtype).flatten(1, 2)
    by_head[..., block.masked :].masked_fill_(block.hidden, -torch.inf)
    return scores.softmax(-1)


def _rows(x: Tensor, block: Block) -> Tensor:
    """What belongs to the queries of a block, for all heads that share keys: ``(b * g, r * n, k)``."""
    return x[:, :, block.queries].flatten(1, 2)


def _product(first: Tensor, second: Tensor, factor: float) -> Tensor:
    """Batches of matrices, ``factor * first @ second``."""
    if torch.compiler.is_compiling():  # which fuses the factor into what follows
        return first @ second * factor
    return torch.baddbmm(first.new_empty(()), first, second, beta=0, alpha=factor)
