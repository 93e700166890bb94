"""Attention to chosen blocks of tokens: MoBA, and the compressed and selected branches of native sparse attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention import fused_attention, visible
from mixers.ops.attention_chunks import exact, query_chunks, share_heads

OWN, PREVIOUS, FIRST = 4.0, 3.0, 2.0
"""Scores of the blocks that every query of native sparse attention keeps, above those of attention weights."""


def block_means(x: Tensor, size: int) -> Tensor:
    """The means of all complete blocks of tokens, ``(b, g, s, k)`` to ``(b, g, s // size, k)``, in float32 at least."""
    blocks = x.shape[2] // size
    return exact(x[:, :, : blocks * size])[0].unflatten(2, (blocks, size)).mean(3)


def moba(query: Tensor, key: Tensor, value: Tensor, *, scale: float, block_size: int, blocks: int) -> Tensor:
    """Softmax attention of the last t of s tokens to those of a few blocks, head first.

        score_tn = <q_t, mean_{s in block n} k_s>     of the blocks before that of t
        y_t = softmax attention over  s <= t  in the block of t and the (blocks - 1) blocks of the highest score

    The choice is no function that has a gradient: the mean of a block learns through its keys alone.

    Args:
        query: ``(b, h, t, k)``, those of the last t tokens.
        key: ``(b, g, s, k)`` where g divides h, those of all tokens from the first on.
        value: ``(b, g, s, v)``.
        scale: the factor on the scores of attention; it changes no choice.
        block_size: tokens in a block.
        blocks: how many a query sees, its own included. Of two blocks with equal scores it is the earlier one.

    Returns:
        ``(b, h, t, v)``.

    Source: Lu et al. 2025, arXiv:2502.13189.
    """
    mixed = []
    for here, there in query_chunks(query.shape[2], key.shape[2]):
        queries, keys, values = query[:, :, here], key[:, :, there], value[:, :, there]
        chosen = moba_blocks(queries, keys, block_size, blocks)
        mixed.append(_attend_blocks(queries, keys, values, chosen, scale=scale, size=block_size))
    return torch.cat(mixed, dim=2)


@torch.no_grad()
def moba_blocks(query: Tensor, key: Tensor, block_size: int, blocks: int) -> Tensor:
    """Which blocks each of the last t of s tokens sees, boolean ``(b, h, t, n)``."""
    own, count = _own_blocks(query.shape[2], key.shape[2], block_size, query.device)
    means = share_heads(block_means(key, block_size), query.shape[1])
    with torch.autocast(query.device.type, enabled=False):
        scores = exact(query)[0] @ means.mT
    scores = F.pad(scores, (0, count - means.shape[2]))
    place = torch.arange(count, device=query.device)
    scores = scores.masked_fill(place == own, torch.inf).masked_fill(place > own, -torch.inf)
    return _highest(scores, blocks) & (place <= own)


def nsa(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, block_size: int, blocks: int
) -> tuple[Tensor, Tensor]:
    """Two branches of native sparse attention of the last t of s tokens, head first.

        compressed_t = sum_n p_tn mean(v in n)     p_t = softmax_n(scale * <q_t, mean(k in n)>)   over complete n
        selected_t = softmax attention over  s <= t  in the blocks of the highest p, a mean over heads that share keys

    The first block, the one of t and the one before it are always selected, as far as `blocks` goes, in the order own,
    previous, first. Before the first block is complete the compressed branch is zero.

    Args:
        query: ``(b, h, t, k)``, those of the last t tokens.
        key: ``(b, g, s, k)`` where g divides h, those of all tokens from the first on.
        value: ``(b, g, s, v)``.
        scale: the factor on the scores.
        block_size: tokens in a block.
        blocks: how many are selected.

    Returns:
        Both branches, ``(b, h, t, v)``.

    Source: Yuan et al. 2025, arXiv:2502.11089; blocks are compressed by means here, as in flash-linear-attention.
    """
    compressed, selected = [], []
    for here, there in query_chunks(query.shape[2], key.shape[2]):
        queries, keys, values = query[:, :, here], key[:, :, there], value[:, :, there]
        weights = compressed_weights(queries, keys, scale=scale, block_size=block_size)
        with torch.autocast(query.device.type, enabled=False):
            means = share_heads(block_means(values, block_size), query.shape[1])
            compressed.append((weights @ means).to(value.dtype))
        chosen = _highest(block_importance(weights, keys.shape, block_size), blocks)
        selected.append(_attend_blocks(queries, keys, values, chosen, scale=scale, size=block_size))
    return torch.cat(compressed, dim=2), torch.cat(selected, dim=2)


def compressed_weights(query: Tensor, key: Tensor, *, scale: float, block_size: int) -> Tensor:
    """The attention weights on the means of complete blocks, ``(b, h, t, s // block_size)``."""
    t, s = query.shape[2], key.shape[2]
    means = share_heads(block_means(key, block_size), query.shape[1])
    complete = torch.arange(s - t + 1, s + 1, device=query.device)[:, None] // block_size
    seen = torch.arange(means.shape[2], device=query.device) < complete
    with torch.autocast(query.device.type, enabled=False):
        scores = exact(query)[0] @ means.mT * scale
    # The smallest number and not -inf: where nothing is seen a softmax of -inf would be NaN, also in its gradient.
    return scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(-1) * seen


@torch.no_grad()
def block_importance(weights: Tensor, key_shape: torch.Size, block_size: int) -> Tensor:
    """How much each block is worth to be selected, ``(b, g, t, n)``; -inf where it lies in the future."""
    groups, s = key_shape[1:3]
    own, count = _own_blocks(weights.shape[2], s, block_size, weights.device)
    of_groups = weights.unflatten(1, (groups, -1)).mean(2)
    scores = F.pad(of_groups, (0, count - weights.shape[-1]))
    place = torch.arange(count, device=weights.device)
    for forced, score in ((place == 0, FIRST), (place == own - 1, PREVIOUS), (place == own, OWN)):
        scores = scores.masked_fill(forced, score)
    return scores.masked_fill(place > own, -torch.inf)


def _own_blocks(t: int, s: int, size: int, device: torch.device) -> tuple[Tensor, int]:
    """The block of each of the last t of s tokens, ``(t, 1)``, and how many blocks there are."""
    return torch.arange(s - t, s, device=device)[:, None] // size, (s + size - 1) // size


def _highest(scores: Tensor, count: int) -> Tensor:
    """Where the highest scores lie, boolean; of equals the earlier ones, which `topk` does not promise."""
    order = scores.argsort(dim=-1, descending=True, stable=True)[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, True)


def _attend_blocks(query: Tensor, key: Tensor, value: Tensor, chosen: Tensor, *, scale: float, size: int) -> Tensor:
    """Softmax attention to the tokens so far in the chosen blocks, ``(b, h or g, t, n)``."""
    t, s = query.shape[2], key.shape[2]
    keep = share_heads(chosen, query.shape[1]).repeat_interleave(size, dim=-1)[..., :s]
    return fused_attention(query, key, value, scale, mask=keep & visible(t, s, None, query.device))
