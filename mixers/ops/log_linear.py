"""Linear attention that remembers in a number of states that grows as the logarithm of time, as a Fenwick tree does."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.decay_chunks import ZERO, accumulation_dtype, resets
from mixers.ops.documents import positions

CHUNK = 64
"""Tokens that read each other through a matrix of pairs."""


class LogLinearState(NamedTuple):
    """What is kept of a row's tokens.

    Args:
        memory: the states of the levels above 0, ``(b, h, l - 1, k, v)``: that of level i holds the ``2**(i - 1)``
            tokens that the bit i - 1 of `tokens` stands for, or is zero.
        tokens: how many there were so far, ``(b,)``, int64.
    """

    memory: Tensor
    tokens: Tensor


def log_linear(  # noqa: PLR0917 - the order of `decay`
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    scale: Tensor,
    state: LogLinearState | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, LogLinearState]:
    """Read the past in pieces that are the longer, the older they are, each by its own scale.

        y_t = sum_{s <= t} scale_t[level(t, s)] exp(g_{s+1} + ... + g_t) <q_t, k_s> v_s
        level(t, s) = number of binary digits of (t xor s),  at most l - 1         t, s from 0

    Level 0 is the token itself; level i are the ``2**(i - 1)`` tokens that the bit i - 1 of t stands for, if it is set:
    as in a Fenwick tree t is cut into powers of two, the longest first. Where there are more tokens than levels tell
    apart, all the oldest share the last.

    In chunks, as `mixers.ops.decay`, with a state a level: time ``t * l``. Whatever the number of tokens that a row has
    seen, and wherever a document starts, a chunk does the same: rows of different ages go together.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        log_decay: g, zero or less, ``(b, t, h)``.
        scale: ``(b, t, h, l)``, l >= 2.
        state: what an earlier piece returned; None is nothing. It belongs to the row's first document.
        documents: which document each token belongs to, ``(b, t)``; each starts from nothing, at position 0.

    Returns:
        y, ``(b, t, h, v)``, in the dtype of `value`, and the state, in float32 or wider.

    Raises:
        ValueError: shapes that do not fit.

    Source: Guo et al. 2025, arXiv:2506.04761.
    """
    _check(query, log_decay, scale, state)
    t, dtype = query.shape[1], accumulation_dtype(query, key, value)
    before = _empty(key, value, scale, dtype) if state is None else state
    forgets = query.new_zeros(query.shape[:2], dtype=torch.bool) if documents is None else resets(documents, value)
    place = _places(before.tokens, forgets, documents)
    # What has seen nothing uses no more levels than its tokens have digits.
    used = before.memory.shape[2] if state is not None else min(scale.shape[-1] - 1, t.bit_length())
    with torch.autocast(query.device.type, enabled=False):
        decays = log_decay.to(dtype).clamp_min(ZERO[dtype]).masked_fill(forgets[..., None], 0)
        tensors = (query.to(dtype), key.to(dtype), value.to(dtype), decays, scale.to(dtype))
        memory = before.memory[:, :, :used].to(dtype)
        if t == 1:
            out, memory = _step(*(x[:, 0] for x in tensors), place=place[:, 0], memory=memory)
            out = out[:, None]
        else:
            by_head = [x.transpose(1, 2).split(CHUNK, dim=2) for x in tensors]
            outs = []
            for *chunk, at, fresh in zip(*by_head, *(x.split(CHUNK, dim=1) for x in (place, forgets)), strict=True):
                now, memory = _chunk(*chunk, place=at, number=fresh.cumsum(1), memory=memory)
                outs.append(now)
            out = torch.cat(outs, dim=2).transpose(1, 2)
    missing = before.memory.shape[2] - used
    return out.to(value.dtype), LogLinearState(F.pad(memory, (0, 0, 0, 0, 0, missing)), place[:, -1] + 1)


def log_linear_reference(  # noqa: PLR0917 - as `log_linear`
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    scale: Tensor,
    state: LogLinearState | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, LogLinearState]:
    """`log_linear` one token at a time."""
    memory, count = _empty(key, value, scale, value.dtype) if state is None else state
    forgets = query.new_zeros(query.shape[:2], dtype=torch.bool) if documents is None else resets(documents, value)
    out = []
    tokens = zip(*(x.unbind(1) for x in (query, key, value, log_decay, scale)), strict=True)
    for t, token in enumerate(tokens):
        memory = memory.masked_fill(forgets[:, t, None, None, None, None], 0)
        count = count.masked_fill(forgets[:, t], 0)
        now, memory = _step(*token, place=count, memory=memory)
        out.append(now)
        count = count + 1
    return torch.stack(out, dim=1), LogLinearState(memory, count)


def _step(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, scale: Tensor, *, place: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """One token, ``(b, h, ...)``, at its place, ``(b,)``; the memory is ``(b, h, m, k, v)``."""
    levels = memory.shape[2]
    memory = log_decay.exp()[..., None, None, None] * memory
    reads = (query[:, :, None, None] @ memory).squeeze(-2)
    own = (query * key).sum(-1, keepdim=True) * value
    out = scale[..., :1] * own + (scale[..., 1 : levels + 1, None] * reads).sum(2)
    # As in binary addition the ones at the end become zeros, and what they stood for is carried to the next bit.
    carried = digits(place ^ (place + 1), levels)[:, None] - 1
    level = torch.arange(levels, device=place.device)
    gone, here = (x[:, None, :, None, None] for x in (level < carried, level == carried))
    whole = key[..., None] * value[..., None, :] + memory.masked_fill(~gone, 0).sum(2)
    return out, memory.masked_fill(gone, 0) + here * whole[:, :, None]


def _chunk(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    scale: Tensor,
    *,
    place: Tensor,
    number: Tensor,
    memory: Tensor,
) -> tuple[Tensor, Tensor]:
    """Some tokens, ``(b, h, c, ...)``, at their places ``(b, c)`` in documents that are numbered from 0, ``(b, c)``."""
    levels = memory.shape[2]
    since = log_decay.cumsum(-1)[..., None]
    out = _pairs(query, key, scale, since, place, number) @ value
    first, end = place[:, :1], place[:, -1:] + 1
    # A level's tokens stay together: what tells them apart from a later token is the highest of the digits.
    level = torch.arange(1, levels + 1, device=place.device)
    at = torch.maximum(level, digits(place ^ first, levels)[..., None])
    weight = scale.gather(-1, _by_head(at, scale)).masked_fill((number > 0)[:, None, :, None], 0)
    reads = (query * since.exp())[..., None, :] * weight[..., None]
    out = out + reads.flatten(3) @ memory.flatten(2, 3)
    last = since[:, :, -1:]
    keeps = last.exp().masked_fill((number[:, -1:] > 0)[:, None, :, None], 0)
    moved = level[:, None] == torch.maximum(level, digits(end ^ first, levels))[:, None]
    kept = moved[:, None].to(memory.dtype) @ memory.flatten(3)
    leaves = (last - since).exp().masked_fill((number != number[:, -1:])[:, None, :, None], 0)
    slots = (digits(end ^ place, levels)[..., None] == level)[:, None]
    written = ((key * leaves)[..., None, :] * slots[..., None]).flatten(3).mT @ value
    return out, keeps[..., None] * kept.unflatten(3, memory.shape[3:]) + written.unflatten(2, memory.shape[2:4])


def _pairs(  # noqa: PLR0917 - as `_chunk`
    query: Tensor, key: Tensor, scale: Tensor, since: Tensor, place: Tensor, number: Tensor
) -> Tensor:
    """What the tokens of a chunk read of each other, ``(b, h, c, c)``."""
    c = query.shape[2]
    level = digits(place[:, :, None] ^ place[:, None], scale.shape[-1] - 1)
    seen = torch.ones(c, c, dtype=torch.bool, device=query.device).tril() & (number[:, :, None] == number[:, None])
    kept = (since - since.mT).masked_fill(~seen[:, None], -torch.inf).exp()
    return (query @ key.mT) * kept * scale.gather(-1, _by_head(level, scale))


def digits(number: Tensor, limit: int) -> Tensor:
    """How many binary digits whole numbers have, 0 for 0, at most `limit`."""
    powers = 1 << torch.arange(limit, device=number.device)
    return (number[..., None] >= powers).sum(-1)


def _by_head(level: Tensor, scale: Tensor) -> Tensor:
    """Levels ``(b, c, n)``, the same for all heads, as an index."""
    return level[:, None].expand(-1, scale.shape[1], -1, -1)


def _places(count: Tensor, forgets: Tensor, documents: Tensor | None) -> Tensor:
    """The place of each token in its document, ``(b, t)``."""
    if documents is None:
        return count[:, None] + torch.arange(forgets.shape[1], device=count.device)
    return positions(documents) + count[:, None].masked_fill(forgets.cumsum(1) > 0, 0)


def _empty(key: Tensor, value: Tensor, scale: Tensor, dtype: torch.dtype) -> LogLinearState:
    b, h, k, v = key.shape[0], *key.shape[2:], value.shape[-1]
    memory = value.new_zeros(b, h, scale.shape[-1] - 1, k, v, dtype=dtype)
    return LogLinearState(memory, torch.zeros(b, dtype=torch.int64, device=value.device))


def _check(query: Tensor, log_decay: Tensor, scale: Tensor, state: LogLinearState | None) -> None:
    tokens = tuple(query.shape[:3])
    if log_decay.shape != tokens:
        raise ValueError(f"log_decay has the shape {tuple(log_decay.shape)}: expected {tokens} (b, t, h)")
    if scale.shape[:-1] != tokens or scale.shape[-1] < 2:
        expected = f"{(*tokens, 'l')} (b, t, h, l) with 2 levels or more"
        raise ValueError(f"scale has the shape {tuple(scale.shape)}: expected {expected}")
    if state is not None and state.memory.shape[2] != scale.shape[-1] - 1:
        found = f"state has {state.memory.shape[2]} levels above 0"
        raise ValueError(f"{found}: expected {scale.shape[-1] - 1}, one less than scale")
