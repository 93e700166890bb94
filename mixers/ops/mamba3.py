"""The recurrence of Mamba-3: a decaying state, keys and queries that turn, and writes by the trapezoidal rule."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.carry import carry
from mixers.ops.decay_chunks import (
    accumulation_dtype,
    chunk_length,
    into_chunks,
    resets,
    segments,
)
from mixers.ops.decay_pairs import scalar_pairs

CHUNK = 64

State = tuple[Tensor, Tensor, Tensor, Tensor]


def mamba3(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    log_decay: Tensor,
    step: Tensor,
    blend: Tensor,
    turn: Tensor,
    state: State | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Write each token half before and half after the decay, in coordinates that turn from token to token.

        theta_t = theta_{t-1} + pi * step_t * tanh(turn_t)
        W_t = sum_r k_{t,r} v_{t,r}^T
        S_t = exp(w_t) (S_{t-1} + (1 - blend_t) step_t W_{t-1}) + blend_t step_t W_t
        y_{t,r} = S_t^T q_{t,r}

    Queries and keys are rotated by their token's theta first, channels 2i and 2i + 1 together by its i-th angle. With
    r = 1 it is the form of one input and output a head, with more the one of several. Gates, the skip, norms and biases
    belong to the mixer. The last key and value are part of the state, since the next token writes them once more.

    Args:
        query: ``(b, t, h, r, k)``.
        key: ``(b, t, h, r, k)``.
        value: ``(b, t, h, r, v)``.
        log_decay: w, zero or less, ``(b, t, h)``.
        step: the length of the time step, ``(b, t, h)``.
        blend: how much of a token is written at once and not with the next, ``(b, t, h)``, from 0 to 1.
        turn: ``(b, t, h, a)``: the angles of the first 2a channels, before the hyperbolic tangent.
        state: theta ``(b, h, a)``, S ``(b, h, k, v)``, the last key, rotated, ``(b, h, r, k)``, and the last value
            ``(b, h, r, v)``; None is zero.
        documents: which document each token belongs to, ``(b, t)``; each starts from a zero state.

    Returns:
        y, ``(b, t, h, r, v)``, in the dtype of `value`, and the state after the last token, in float32 or wider, with
        its angle from 0 to 2 pi.

    Source: Lahoti et al. 2026, arXiv:2603.15569.
    """
    dtype = accumulation_dtype(query, key, value)
    forgets = None if documents is None else resets(documents, value)
    with torch.autocast(query.device.type, enabled=False):
        query, key, wide = query.to(dtype), key.to(dtype), value.to(dtype)
        log_decay, step, blend, turn = (x.to(dtype) for x in (log_decay, step, blend, turn))
        angle, matrix, last_key, last_value = (
            _zero(query, wide, turn) if state is None else (x.to(dtype) for x in state)
        )
        theta = _angles(math.pi * step[..., None] * turn.tanh(), angle, forgets)
        query, key = _rotate(query, theta), _rotate(key, theta)
        # both halves of a token's write are writes of rank r at the token itself: one with its own key and value, one
        # with those of the token before, which its decay has met already
        keys = _previous(key, last_key, forgets), key
        values = torch.cat([_previous(wide, last_value, forgets), wide], dim=3)
        weights = (1 - blend) * step * log_decay.exp(), blend * step
        writes = torch.cat([k * weight[..., None, None] for k, weight in zip(keys, weights, strict=True)], dim=3)
        if query.shape[1] == 1:
            matrix = log_decay[:, 0, :, None, None].exp() * matrix + writes[:, 0].mT @ values[:, 0]
            out = (query[:, 0] @ matrix)[:, None]
        else:
            out, matrix = _chunked(query, writes, values, log_decay, matrix, forgets=forgets)
        return out.to(value.dtype), (theta[:, -1].clone(), matrix, key[:, -1].clone(), wide[:, -1].clone())


def mamba3_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    log_decay: Tensor,
    step: Tensor,
    blend: Tensor,
    turn: Tensor,
    state: State | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, State]:
    """`mamba3` one token at a time."""
    theta, matrix, last_key, last_value = _zero(query, value, turn) if state is None else state
    forgets = None if documents is None else resets(documents, value)
    out = []
    for t in range(query.shape[1]):
        if forgets is not None:
            new = forgets[:, t, None, None]
            theta, matrix = theta.masked_fill(new, 0), matrix.masked_fill(new[..., None], 0)
            last_key, last_value = last_key.masked_fill(new[..., None], 0), last_value.masked_fill(new[..., None], 0)
        theta = (theta + math.pi * step[:, t, :, None] * turn[:, t].tanh()).remainder(2 * math.pi)
        q, k, v = _rotate(query[:, t], theta), _rotate(key[:, t], theta), value[:, t]
        length, share = step[:, t, :, None, None], blend[:, t, :, None, None]
        matrix = matrix + (1 - share) * length * (last_key.mT @ last_value)
        matrix = log_decay[:, t, :, None, None].exp() * matrix + share * length * (k.mT @ v)
        out.append(q @ matrix)
        last_key, last_value = k, v
    return torch.stack(out, dim=1), (theta, matrix, last_key, last_value)


def _chunked(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, state: Tensor, *, forgets: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Read a state with several writes and several queries a token, ``(b, t, h, r, ·)``.

    `mixers.ops.decay`, with as many rows of the matrix of pairs for a token as it has queries, and as many columns as
    it has writes.
    """
    t, reads, writes = query.shape[1], query.shape[3], key.shape[3]
    c = chunk_length(t, CHUNK)
    if forgets is not None:
        log_decay = log_decay.masked_fill(forgets[..., None], 0)
    query, key, value = (into_chunks(x, c).flatten(3, 4) for x in (query, key, value))
    total = into_chunks(log_decay, c)[..., None].cumsum(-2)
    last = total[..., -1:, :]
    seen = torch.ones(c, c, dtype=torch.bool, device=query.device).tril()
    enters, leaves, keeps = total.exp(), (last - total).exp(), last.exp()
    if forgets is not None:
        masks = segments(forgets, c)
        seen = seen & masks.same
        enters, leaves = enters.masked_fill(~masks.enters, 0), leaves.masked_fill(~masks.leaves, 0)
        keeps = keeps.masked_fill(~masks.keeps, 0)
    pairs = scalar_pairs(
        query,
        key,
        total.repeat_interleave(reads, -2),
        total.repeat_interleave(writes, -2),
        seen.repeat_interleave(reads, -2).repeat_interleave(writes, -1),
    )
    states, state = carry(keeps, (key * leaves.repeat_interleave(writes, -2)).mT @ value, state)
    out = pairs @ value + (query * enters.repeat_interleave(reads, -2)) @ states
    return out.unflatten(3, (-1, reads)).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)[:, :t], state


def _angles(increments: Tensor, angle: Tensor, forgets: Tensor | None) -> Tensor:
    """The angle of each token, ``(b, t, h, a)``, from 0 to 2 pi."""
    # In float64: a running sum over a long sequence is large, and only what is left of it after full turns counts.
    total = increments.double().cumsum(1)
    start = angle[:, None].double()
    if forgets is not None:
        place = torch.arange(forgets.shape[1], device=forgets.device).expand_as(forgets)
        first = torch.where(forgets, place, 0).cummax(dim=1).values[..., None, None].expand_as(total)
        earlier = F.pad(total[:, :-1], (0, 0, 0, 0, 1, 0)).gather(1, first)
        total, start = total - earlier, start.masked_fill((forgets.cumsum(1) > 0)[..., None, None], 0)
    return (total + start).remainder(2 * math.pi).to(increments.dtype)


def _rotate(x: Tensor, theta: Tensor) -> Tensor:
    """Turn the first 2a channels of ``(..., r, k)`` by the angles ``(..., a)``, two neighbours at a time."""
    turned, rest = x.split([2 * theta.shape[-1], x.shape[-1] - 2 * theta.shape[-1]], dim=-1)
    first, second = turned.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = theta.cos()[..., None, :], theta.sin()[..., None, :]
    pairs = torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
    return torch.cat([pairs.flatten(-2), rest], dim=-1)


def _previous(x: Tensor, before: Tensor, forgets: Tensor | None) -> Tensor:
    """What the token before had, ``(b, t, h, r, ·)``; zero where a document starts."""
    shifted = torch.cat([before[:, None], x[:, :-1]], dim=1)
    return shifted if forgets is None else shifted.masked_fill(forgets[..., None, None, None], 0)


def _zero(query: Tensor, value: Tensor, turn: Tensor) -> State:
    b, _, h, r, k = query.shape
    v = value.shape[-1]
    shapes = (b, h, turn.shape[-1]), (b, h, k, v), (b, h, r, k), (b, h, r, v)
    angle, matrix, key, last = (value.new_zeros(shape) for shape in shapes)
    return angle, matrix, key, last
