"""PaTH attention: a key is reflected by every token between it and the query, so that the path is its position."""

from typing import NamedTuple

import torch
from torch import Tensor

from mixers.ops.attention_bias import decay_biases
from mixers.ops.attention_chunks import exact, share_heads

BLOCK = 64
"""Queries whose reflections are taken together."""


class PathState(NamedTuple):
    """What a sequence so far is to later queries.

    Args:
        key: the keys, reflected by all tokens after them, ``(b, g, s, k)``, in float32 at least.
        value: ``(b, g, s, v)``.
        log_decay: ``(b, h, s)``, or None where there is none.
    """

    key: Tensor
    value: Tensor
    log_decay: Tensor | None


def path_attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    direction: Tensor,
    strength: Tensor,
    *,
    scale: float,
    log_decay: Tensor | None = None,
    state: PathState | None = None,
) -> tuple[Tensor, PathState]:
    """Causal softmax attention whose scores lead through a product of reflections, head first.

        y_t = sum_{s <= t} softmax_s( scale * q_t^T H_t ... H_{s+1} k_s + sum_{s < r <= t} g_r ) v_s
        H_r = I - strength_r w_r w_r^T

    It goes by blocks of queries. The keys before a block have been reflected up to it, ``t**2 / BLOCK * k`` numbers
    while training. Within it, a triangular solve gives what each reflection takes from each key (UT transform).

    Args:
        query: ``(b, h, t, k)``.
        key: ``(b, g, t, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, t, v)``.
        direction: w, of length 1, ``(b, g, t, k)``.
        strength: from 0 (nothing) to 2 (a reflection), ``(b, g, t)``.
        scale: the factor on the scores, not on the decays.
        log_decay: g, 0 or less, ``(b, h, t)``.
        state: what came before.

    Returns:
        ``(b, h, t, v)``, in the dtype of `value`, and the state after the last token.

    Source: Yang et al. 2025, arXiv:2505.16381.
    """
    heads, (groups, t) = query.shape[1], key.shape[1:3]
    values = value if state is None else torch.cat([state.value, value], dim=2)
    decays = log_decay
    if state is not None and state.log_decay is not None and log_decay is not None:
        decays = torch.cat([state.log_decay, log_decay], dim=2)
    mixed = []
    with torch.autocast(query.device.type, enabled=False):
        # Query heads that share a key head stand behind each other, so that one product serves them all.
        queries, keys, w, beta = exact(query.unflatten(1, (groups, heads // groups)), key, direction, strength)
        past = keys[:, :, :0] if state is None else state.key
        for start in range(0, t, BLOCK):
            here = slice(start, min(start + BLOCK, t))
            scores, past = _block(queries[:, :, :, here], keys[:, :, here], w[:, :, here], beta[:, :, here], past)
            logits = scores.flatten(1, 2) * scale
            c, s = logits.shape[2:]
            if decays is not None:
                logits = logits + decay_biases(decays[..., :s], c)
            weights = logits.masked_fill(_later(c, s, logits.device), -torch.inf).softmax(-1)
            mixed.append((weights @ share_heads(values[:, :, :s], heads).to(weights.dtype)).to(value.dtype))
    return torch.cat(mixed, dim=2), PathState(past, values, decays)


def path_attend_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    direction: Tensor,
    strength: Tensor,
    *,
    scale: float,
    log_decay: Tensor | None = None,
    state: PathState | None = None,
) -> tuple[Tensor, PathState]:
    """`path_attend` one token at a time: all keys so far are reflected by it, and then asked."""
    heads, t = query.shape[1], query.shape[2]
    keys = key[:, :, :0] if state is None else state.key
    values = value[:, :, :0] if state is None else state.value
    decays = None if log_decay is None else log_decay[..., :0]
    if state is not None and decays is not None:
        decays = state.log_decay
    mixed = []
    for i in range(t):
        w = direction[:, :, i, None]
        along = (keys * w).sum(-1, keepdim=True)
        keys = keys - strength[:, :, i, None, None] * along * w
        keys, values = torch.cat([keys, key[:, :, i, None]], dim=2), torch.cat([values, value[:, :, i, None]], dim=2)
        logits = (query[:, :, i, None] * share_heads(keys, heads)).sum(-1) * scale
        if decays is not None and log_decay is not None:
            decays = torch.cat([decays, log_decay[..., i, None]], dim=-1)
            logits = logits + torch.stack([decays[..., s + 1 :].sum(-1) for s in range(decays.shape[-1])], dim=-1)
        mixed.append((logits.softmax(-1)[..., None] * share_heads(values, heads)).sum(2))
    return torch.stack(mixed, dim=2), PathState(keys, values, decays)


def _block(query: Tensor, key: Tensor, w: Tensor, strength: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of a block of c queries, ``(b, g, r, c, s + c)``, and the keys reflected up to its end.

    With x_r a key after the r-th reflection, ``u_r = strength_r <w_r, x_{r-1}>`` is what that takes away along w_r, and
    ``x_r = k - sum_{r' <= r} u_{r'} w_{r'}``: a triangular system in u, with one right side a key. For keys before the
    block it is solved for the directions alone, and u is then linear in the key.
    """
    scaled = strength[..., None] * w
    among = (scaled @ w.mT).tril(-1)
    sides = torch.cat([scaled, (scaled @ key.mT).tril(-1)], dim=-1)
    solved = torch.linalg.solve_triangular(among + _identity(among), sides, upper=False, unitriangular=True)
    of_past, taken = solved.split([w.shape[-1], key.shape[2]], dim=-1)
    reads = (query @ w.mT[:, :, None]).tril()
    to_past = (query - reads @ of_past[:, :, None]) @ past.mT[:, :, None]
    inside = query @ key.mT[:, :, None] - reads @ taken[:, :, None]
    past = past - (past @ of_past.mT) @ w
    return torch.cat([to_past, inside], dim=-1), torch.cat([past, key - taken.mT @ w], dim=2)


def _identity(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def _later(t: int, s: int, device: torch.device) -> Tensor:
    """Which of s tokens come after each of the last t of them."""
    place = torch.arange(s, device=device)
    return place > place[s - t :, None]
