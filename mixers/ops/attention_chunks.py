"""Softmax attention a chunk of queries at a time, where the fused kernel does not know what happens to the scores."""

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 128
"""How many queries have their scores in memory at a time."""


def query_chunks(t: int, s: int, window: int | None = None, size: int = CHUNK) -> Iterator[tuple[slice, slice]]:
    """Cut the last t of s tokens into chunks: the queries of each, and the keys that one of them sees at least."""
    for start in range(0, t, size):
        stop = min(start + size, t)
        first = 0 if window is None else max(s - t + start - window + 1, 0)
        yield slice(start, stop), slice(first, s - t + stop)


def share_heads(x: Tensor, heads: int) -> Tensor:
    """Repeat the heads of keys or values for the query heads that share them: ``(b, g, s, k)`` to ``(b, h, s, k)``."""
    group = heads // x.shape[1]
    return x if group == 1 else x.repeat_interleave(group, dim=1)


def exact(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The same numbers in float32 at least: what scores and their sums are computed in."""
    return tuple(x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors)


def softmax_weights(scores: Tensor, seen: Tensor, sink: Tensor | None = None) -> Tensor:
    """The softmax over the last axis of what is seen, beside a sink that takes attention and gives nothing.

    Args:
        scores: ``(b, h, t, s)``.
        seen: boolean, broadcast to the scores. Each query sees a key at least, or there is a sink.
        sink: the logit of the sink, one a head, ``(h,)``.
    """
    masked = scores.masked_fill(~seen, -torch.inf)
    if sink is None:
        return masked.softmax(-1)
    column = sink.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)
    return torch.cat([masked, column], dim=-1).softmax(-1)[..., :-1]
