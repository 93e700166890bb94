"""A linear memory that is trained at test time, by gradient descent in mini-batches of the sequence's tokens."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.decay_chunks import accumulation_dtype
from mixers.ops.inner_loss import Gradient, layer_norm_gradient
from mixers.ops.mini_batches import MiniBatches


class TTTState(NamedTuple):
    """A memory in training.

    Args:
        weight: W, with the bias c as its last row, at the start of the mini-batch, ``(b, h, k + 1, v)``.
        gradient: the sum of the gradients of the mini-batch's tokens so far, the same shape.
        phase: how many tokens these are, ``(b,)``, int64.
    """

    weight: Tensor
    gradient: Tensor
    phase: Tensor


def ttt(  # noqa: PLR0917 - what the recurrence is made of, in its order
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rate: Tensor,
    gain: Tensor,
    bias: Tensor,
    state: TTTState | None = None,
    *,
    importance: Tensor | None = None,
    mini_batch: int = 16,
    gradient: Gradient = layer_norm_gradient,
) -> tuple[Tensor, TTTState]:
    """Read a linear memory, ``z -> W^T z + c``, after gradient steps from keys to what values add to them.

        e_s = importance_s * d/dz 1/2 |LN(z) - (v_s - k_s)|**2   at  z = W^T k_s + c
        W_t = W - rate_t sum_s k_s e_s^T     c_t = c - rate_t sum_s e_s     s <= t of the same mini-batch
        y_t = W_t^T q_t + c_t

    W and c are those at the start of the mini-batch: the gradients of its tokens are all taken there, and it ends with
    the rate of its last token. A loop over mini-batches. What is read is not normalised: that belongs to the mixer.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, k)``: with as many channels as keys.
        rate: ``(b, t, h)``.
        gain: of the layer norm, ``(h, k)``.
        bias: of the layer norm, ``(h, k)``.
        state: what an earlier piece returned; None is a memory of zeros, at the start of a mini-batch.
        importance: how much the loss of each token counts, ``(b, t, h)``; None for 1.
        mini_batch: tokens that are learned from at once.
        gradient: that of the loss; the default is the one above.

    Returns:
        y, ``(b, t, h, k)``, in the dtype of `value`, and the state, in float32 or wider.

    Raises:
        ValueError: shapes that do not fit, a mini-batch of less than 1.

    Source: Sun et al. 2024, arXiv:2407.04620, with one rate a token as the kernels of flash-linear-attention have it.
    """
    _check(query, value, rate, mini_batch)
    dtype = accumulation_dtype(query, key, value)
    with torch.autocast(query.device.type, enabled=False):
        q, k, v = query.to(dtype), key.to(dtype), value.to(dtype)
        tensors = (_with_one(q), _with_one(k), v - k, rate.to(dtype), _ones(rate, importance).to(dtype))
        norm = gain.to(dtype), bias.to(dtype)
        before = zero_ttt_state(query, dtype) if state is None else _widened(state, dtype)
        if query.shape[1] == 1:
            first = (x[:, 0] for x in tensors)
            out, after = _step(*first, state=before, norm=norm, mini_batch=mini_batch, gradient=gradient)
            return out[:, None].to(value.dtype), after
        batches = MiniBatches.of(None if state is None else state.phase, query, mini_batch)
        out, after = _by_mini_batch(batches, tensors, before, norm, gradient)
        return out.to(value.dtype), after


def ttt_reference(  # noqa: PLR0917 - as `ttt`
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rate: Tensor,
    gain: Tensor,
    bias: Tensor,
    state: TTTState | None = None,
    *,
    importance: Tensor | None = None,
    mini_batch: int = 16,
    gradient: Gradient = layer_norm_gradient,
) -> tuple[Tensor, TTTState]:
    """`ttt` one token at a time."""
    state, out = zero_ttt_state(query, query.dtype) if state is None else state, []
    tensors = (_with_one(query), _with_one(key), value - key, rate, _ones(rate, importance))
    for token in zip(*(x.unbind(1) for x in tensors), strict=True):
        now, state = _step(*token, state=state, norm=(gain, bias), mini_batch=mini_batch, gradient=gradient)
        out.append(now)
    return torch.stack(out, dim=1), state


def zero_ttt_state(query: Tensor, dtype: torch.dtype) -> TTTState:
    """The memory of zeros of queries ``(b, t, h, k)``."""
    b, _, h, k = query.shape
    zero = query.new_zeros(b, h, k + 1, k, dtype=dtype)
    return TTTState(zero, torch.zeros_like(zero), torch.zeros(b, dtype=torch.int64, device=query.device))


def _step(
    query: Tensor,
    key: Tensor,
    target: Tensor,
    rate: Tensor,
    importance: Tensor,
    *,
    state: TTTState,
    norm: tuple[Tensor, Tensor],
    mini_batch: int,
    gradient: Gradient,
) -> tuple[Tensor, TTTState]:
    """One token, ``(b, h, ...)``, its query and key with the channel of the bias."""
    prediction = (key[..., None, :] @ state.weight).squeeze(-2)
    error = importance[..., None] * gradient(prediction, target, *norm)
    total = state.gradient + key[..., None] * error[..., None, :]
    now = state.weight - rate[..., None, None] * total
    out = (query[..., None, :] @ now).squeeze(-2)
    phase = (state.phase + 1) % mini_batch
    ends = (phase == 0)[:, None, None, None]
    return out, TTTState(torch.where(ends, now, state.weight), total.masked_fill(ends, 0), phase)


def _by_mini_batch(
    batches: MiniBatches,
    tensors: tuple[Tensor, ...],
    state: TTTState,
    norm: tuple[Tensor, Tensor],
    gradient: Gradient,
) -> tuple[Tensor, TTTState]:
    query, key, target, rate, importance = (
        batches.cut(x if x.ndim == 4 else x[..., None])  # per token and head: one channel
        for x in tensors
    )
    gain, bias = (x[:, None] for x in norm)
    weight, total, _ = state
    # Slots without a token are zero in all tensors: their key has no channel of the bias, and their error counts 0.
    pairs, complete = (query @ key.mT).tril() * rate, batches.complete()
    last, outs = rate[:, :, :, -1:] * complete, []
    # unbound at once: the gradient of a slice a mini-batch would be a whole sequence a mini-batch
    by_batch = zip(*(x.unbind() for x in (query, key, target, rate, importance, pairs, last, complete)), strict=True)
    for q, k, wanted, eta, weighed, among, at_end, ends in by_batch:
        error = weighed * gradient(k @ weight, wanted, gain, bias)
        outs.append(q @ weight - eta * (q @ total) - among @ error)
        total = total + k.mT @ error
        weight = weight - at_end * total
        total = total.masked_fill(ends, 0)
    return batches.join(torch.stack(outs)), TTTState(weight, total, batches.next_phase())


def _with_one(x: Tensor) -> Tensor:
    """With a channel of ones, which the memory's last row is the bias of."""
    return F.pad(x, (0, 1), value=1)


def _ones(rate: Tensor, importance: Tensor | None) -> Tensor:
    return torch.ones_like(rate) if importance is None else importance


def _widened(state: TTTState, dtype: torch.dtype) -> TTTState:
    return TTTState(state.weight.to(dtype), state.gradient.to(dtype), state.phase)


def _check(query: Tensor, value: Tensor, rate: Tensor, mini_batch: int) -> None:
    if value.shape != query.shape:
        found = f"value has the shape {tuple(value.shape)}"
        raise ValueError(f"{found}: expected that of query and key, {tuple(query.shape)} (b, t, h, k)")
    if rate.shape != query.shape[:3]:
        raise ValueError(f"rate has the shape {tuple(rate.shape)}: expected {tuple(query.shape[:3])} (b, t, h)")
    if mini_batch < 1:
        raise ValueError(f"mini_batch must be 1 or more, not {mini_batch}")
