"""Memories of a bounded number of slots, which decay and are written to, and are read through a softmax over them."""

from typing import Any

import torch
from torch import Tensor

from mixers.ops.carry import carry
from mixers.ops.decay import decay, decay_reference
from mixers.ops.decay_chunks import (
    ZERO,
    accumulation_dtype,
    chunk_length,
    from_chunks,
    into_chunks,
    resets,
    segments,
)
from mixers.ops.halving import diagonals, distances, early, late, sizes, square_decays, squares, triangles

CHUNK = 32


def gsa(  # noqa: PLR0917 - what the recurrence is made of, in its order
    query: Tensor,
    key: Tensor,
    value: Tensor,
    slot_write: Tensor,
    log_decay: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Gated slot attention: attend to m slots, each of which holds a key and a value that decay.

        K_t = K_{t-1} Diag(exp(w_t)) + k_t s_t^T          p_t = softmax over slots (K_t^T q_t)
        V_t = Diag(exp(w_t)) V_{t-1} + s_t v_t^T          y_t = V_t^T p_t

    The published mixer writes what it forgets, ``s = 1 - exp(w)``, and scales its query by ``k ** -0.5``; an empty
    slot has the logit 0.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        slot_write: s, how much of the token each of the m slots takes, ``(b, t, h, m)``.
        log_decay: w, zero or less, ``(b, t, h, m)``.
        state: K, ``(b, h, k, m)``, and V, ``(b, h, m, v)``; None is zero.
        documents: which document each token belongs to, ``(b, t)``; each starts from empty slots.

    Returns:
        y, ``(b, t, h, v)``, in the dtype of `value`, and the state after the last token.

    Source: Zhang et al. 2024, arXiv:2409.07146.
    """
    keys, values = (None, None) if state is None else state
    logits, keys = slot_memory(query, key, slot_write, log_decay, keys, documents=documents)
    out, values = decay(logits.softmax(dim=-1), slot_write, value, log_decay, values, documents=documents)
    return out, (keys, values)


def gsa_reference(  # noqa: PLR0917 - as in gsa
    query: Tensor,
    key: Tensor,
    value: Tensor,
    slot_write: Tensor,
    log_decay: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """`gsa` one token at a time, in two passes."""
    keys, values = (None, None) if state is None else state
    logits, keys = slot_memory_reference(query, key, slot_write, log_decay, keys, documents=documents)
    weights = logits.softmax(dim=-1)
    out, values = decay_reference(weights, slot_write, value, log_decay, values, documents=documents)
    return out, (keys, values)


def abc(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    slot_logits: Tensor,
    state: tuple[Tensor, Tensor, Tensor] | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Attention with bounded memory: each slot averages keys and values under a running softmax over time.

        z_t = log sum_{s <= t} exp(l_s)        `gsa` with  s_t = exp(l_t - z_t),  w_t = z_{t-1} - z_t

    Arguments and result as in `gsa`, with the logits l ``(b, t, h, m)``; the state has z, ``(b, h, m)``, as its third.

    Source: Peng et al. 2021, arXiv:2110.02488.
    """
    keys, values, past = (None, None, None) if state is None else state
    logits = slot_logits.to(accumulation_dtype(slot_logits))
    total = _running_logsumexp(logits, past, None if documents is None else resets(documents, value))
    # Without a past the first decay meets an empty slot: any finite one will do.
    previous = torch.cat([total[:, :1] if past is None else past[:, None].to(total.dtype), total[:, :-1]], dim=1)
    between = None if keys is None or values is None else (keys, values)
    # at a document's start the sum can grow smaller; what decays there is forgotten anyway
    log_decay = (previous - total).clamp_max(0)
    out, (keys, values) = gsa(query, key, value, (logits - total).exp(), log_decay, between, documents=documents)
    return out, (keys, values, total[:, -1].clone())


def slot_memory(
    query: Tensor,
    key: Tensor,
    slot_write: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Read a state that decays on the axis of its values, one decay a slot: the first pass of `gsa`.

        K_t = K_{t-1} Diag(exp(w_t)) + k_t s_t^T          y_t = K_t^T q_t

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        slot_write: s, ``(b, t, h, m)``.
        log_decay: w, zero or less, ``(b, t, h, m)``.
        state: K before the first token, ``(b, h, k, m)``; None is zero.
        documents: which document each token belongs to, ``(b, t)``; each starts from a zero state.

    Returns:
        y, ``(b, t, h, m)``, and K after the last token, both in float32 or wider.
    """
    t, dtype = query.shape[1], accumulation_dtype(query, key, slot_write)
    forgets = None if documents is None else resets(documents, query)
    with torch.autocast(query.device.type, enabled=False):
        query, key, write, log_decay = (x.to(dtype) for x in (query, key, slot_write, log_decay))
        state = _empty(query, write) if state is None else state.to(dtype)
        if t == 1:
            out, state = _step(query[:, 0], key[:, 0], write[:, 0], log_decay[:, 0], state)
            return out[:, None], state
        if forgets is not None:
            log_decay = log_decay.masked_fill(forgets[..., None, None], 0)
        c = chunk_length(t, CHUNK)
        masks = None if forgets is None else segments(forgets, c)
        query, key, write, log_decay = (into_chunks(x, c) for x in (query, key, write, log_decay))
        total = log_decay.clamp_min(ZERO[dtype]).cumsum(-2)
        last = total[..., -1:, :]
        scores, enters, leaves, keeps = query @ key.mT, total.exp(), (last - total).exp(), last.exp()
        if masks is not None:
            scores, enters = scores.masked_fill(~masks.same, 0), enters.masked_fill(~masks.enters, 0)
            leaves, keeps = leaves.masked_fill(~masks.leaves, 0), keeps.masked_fill(~masks.keeps, 0)
        states, state = carry(keeps, key.mT @ (write * leaves), state)
        local: Tensor = _ChunkReads.apply(*(x.flatten(0, 2) for x in (scores, write, total)))
        return from_chunks(local.view_as(write) + (query @ states) * enters, t), state


def slot_memory_reference(
    query: Tensor,
    key: Tensor,
    slot_write: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`slot_memory` one token at a time."""
    state = _empty(query, slot_write) if state is None else state
    forgets = None if documents is None else resets(documents, query)
    out = []
    for t in range(query.shape[1]):
        if forgets is not None:
            state = state.masked_fill(forgets[:, t, None, None, None], 0)
        now, state = _step(query[:, t], key[:, t], slot_write[:, t], log_decay[:, t], state)
        out.append(now)
    return torch.stack(out, dim=1), state


def _step(query: Tensor, key: Tensor, write: Tensor, log_decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    state = state * log_decay.exp()[..., None, :] + key[..., None] * write[..., None, :]
    return (query[..., None, :] @ state).squeeze(-2), state


def _empty(query: Tensor, write: Tensor) -> Tensor:
    return write.new_zeros(query.shape[0], query.shape[2], query.shape[3], write.shape[3])


def _running_logsumexp(logits: Tensor, past: Tensor | None, forgets: Tensor | None) -> Tensor:
    """The logarithm of the sum of the exponentials so far, ``(b, t, h, m)``, from the last of `forgets` on."""
    if forgets is None:
        total = logits.logcumsumexp(dim=1)
        return total if past is None else torch.logaddexp(total, past[:, None].to(total.dtype))
    if past is not None:
        first = torch.logaddexp(logits[:, :1], past[:, None].to(logits.dtype))
        logits = torch.cat([first, logits[:, 1:]], dim=1)
    # Doubling: each round adds the sum that ends where a token's own begins, if no document starts between them.
    number, reach, total = forgets.cumsum(1)[..., None, None], 1, logits
    while reach < logits.shape[1]:
        more = torch.logaddexp(total[:, reach:], total[:, :-reach])
        same = number[:, reach:] == number[:, :-reach]
        total = torch.cat([total[:, :reach], torch.where(same, more, total[:, reach:])], dim=1)
        reach *= 2
    return total


class _ChunkReads(torch.autograd.Function):
    """``y[i, m] = sum_{j <= i} scores[i, j] * write[j, m] * exp(total[i, m] - total[j, m])`` within each chunk.

    In squares and by distance (`mixers.ops.halving`), the exponentials made again on the way back. What a running sum
    of log decays gets is what its token reads less what it writes, each times its gradient.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, write: Tensor, total: Tensor) -> Tensor:
        out = torch.zeros_like(write)
        for size in sizes(write.shape[1]):
            since, until = square_decays(total, total, size)
            square = squares(scores, size).permute(0, 3, 1, 2).contiguous()
            late(out, size).add_((square @ (early(write, size) * until)) * since)
        outs, writes, totals = (triangles(x) for x in (out, write, total))
        for distance, here, there in distances(write.shape[1]):
            fading = (totals[:, :, here] - totals[:, :, there]).exp()
            outs[:, :, here].addcmul_(diagonals(scores, distance)[..., None], writes[:, :, there] * fading)
        ctx.save_for_backward(scores, write, total, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores, write, total, out = ctx.saved_tensors
        to_scores = torch.zeros_like(scores)
        # What each token reads of itself is where it begins. Zeros again would do, but of two buffers of zeros of one
        # shape the compiler makes one, and writes into both.
        to_write = scores.diagonal(dim1=1, dim2=2)[..., None] * gradient
        for size in sizes(write.shape[1]):
            since, until = square_decays(total, total, size)
            square = squares(scores, size).permute(0, 3, 1, 2).contiguous()
            faded = late(gradient, size) * since
            early(to_write, size).add_((square.mT @ faded) * until)
            squares(to_scores, size).copy_((faded @ (early(write, size) * until).mT).permute(0, 2, 3, 1))
        writes, totals, gradients, to_writes = (triangles(x) for x in (write, total, gradient, to_write))
        for distance, here, there in distances(write.shape[1]):
            faded = gradients[:, :, here] * (totals[:, :, here] - totals[:, :, there]).exp()
            if distance:
                to_writes[:, :, there].addcmul_(diagonals(scores, distance)[..., None], faded)
            diagonals(to_scores, distance).copy_((faded * writes[:, :, there]).sum(-1))
        return to_scores, to_write, gradient * out - write * to_write
