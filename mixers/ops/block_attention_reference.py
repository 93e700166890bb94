"""The block attention of `mixers.ops.block_attention` one query at a time, with its choices made by sorting a list."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def moba_reference(query: Tensor, key: Tensor, value: Tensor, *, scale: float, block_size: int, blocks: int) -> Tensor:
    """`moba` one query at a time."""

    def of_one(row: int, head: int, place: int) -> Tensor:
        asked, group, position = _indices(query, key, row, head, place)
        own = position // block_size
        means = _means(key[row, group], own, block_size)
        best = sorted(range(own), key=lambda n: -(asked @ means[n]).item())[: blocks - 1]
        tokens = _tokens((*best, own), block_size, position)
        return _softmax_over(asked, key[row, group, tokens], value[row, group, tokens], scale)

    return _each(query, of_one)


def nsa_reference(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, block_size: int, blocks: int
) -> tuple[Tensor, Tensor]:
    """`nsa` one query at a time."""
    heads, groups = query.shape[1], key.shape[1]

    def weights_of(row: int, head: int, place: int) -> Tensor:
        asked, group, position = _indices(query, key, row, head, place)
        means = _means(key[row, group], (position + 1) // block_size, block_size)
        return torch.stack([asked @ mean * scale for mean in means]).softmax(0) if means else asked[:0]

    def compressed(row: int, head: int, place: int) -> Tensor:
        weights = weights_of(row, head, place)
        means = _means(value[row, head * groups // heads], len(weights), block_size)
        return sum((w * mean for w, mean in zip(weights, means, strict=True)), torch.zeros_like(value[0, 0, 0]))

    def selected(row: int, head: int, place: int) -> Tensor:
        asked, group, position = _indices(query, key, row, head, place)
        own = position // block_size
        scores = torch.stack([weights_of(row, i, place) for i in range(heads) if i * groups // heads == group]).sum(0)
        forced = [n for n in dict.fromkeys((own, own - 1, 0)) if n >= 0]
        others = sorted((n for n in range(own) if n not in forced), key=lambda n: -scores[n].item())
        tokens = _tokens((*forced, *others)[:blocks], block_size, position)
        return _softmax_over(asked, key[row, group, tokens], value[row, group, tokens], scale)

    return _each(query, compressed), _each(query, selected)


def _indices(query: Tensor, key: Tensor, row: int, head: int, place: int) -> tuple[Tensor, int, int]:
    """A query, the head of its keys, and its position."""
    (h, t), (groups, s) = query.shape[1:3], key.shape[1:3]
    return query[row, head, place], head * groups // h, s - t + place


def _means(x: Tensor, count: int, size: int) -> list[Tensor]:
    return [x[n * size : (n + 1) * size].mean(0) for n in range(count)]


def _tokens(blocks: Sequence[int], size: int, position: int) -> list[int]:
    """The tokens of some blocks up to a position."""
    return [i for n in blocks for i in range(n * size, min((n + 1) * size, position + 1))]


def _softmax_over(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    return (keys @ query * scale).softmax(0) @ values


def _each(query: Tensor, of_one: Callable[[int, int, int], Tensor]) -> Tensor:
    b, h, t = query.shape[:3]
    rows = [[[of_one(row, head, i) for i in range(t)] for head in range(h)] for row in range(b)]
    return torch.stack([torch.stack([torch.stack(places) for places in heads]) for heads in rows])
