"""A linear memory that learns at test time with momentum, and forgets."""

from typing import NamedTuple

import torch
from torch import Tensor

from mixers.ops.decay_chunks import accumulation_dtype
from mixers.ops.inner_loss import Gradient, layer_norm_gradient
from mixers.ops.mini_batches import MiniBatches
from mixers.ops.scan import scan


class TitansState(NamedTuple):
    """A memory in training.

    Args:
        memory: M, ``(b, h, k, v)``.
        momentum: S, the same shape.
        anchor: M at the start of the mini-batch, where gradients are taken, the same shape.
        phase: how many tokens of its mini-batch a row has seen, ``(b,)``, int64.
    """

    memory: Tensor
    momentum: Tensor
    anchor: Tensor
    phase: Tensor


def titans(  # noqa: PLR0917 - what the recurrence is made of, in its order
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rate: Tensor,
    forget: Tensor,
    momentum: Tensor,
    gain: Tensor,
    bias: Tensor,
    state: TitansState | None = None,
    *,
    mini_batch: int = 16,
    gradient: Gradient = layer_norm_gradient,
) -> tuple[Tensor, TitansState]:
    """Read a linear memory that takes a gradient step with momentum at each token, after it forgot a part of itself.

        e_t = d/dz 1/2 |LN(z) - (v_t - k_t)|**2   at  z = M_c^T k_t
        S_t = momentum_t S_{t-1} - rate_t k_t e_t^T        M_t = (1 - forget_t) M_{t-1} + S_t
        y_t = M_t^T q_t

    M_c is the memory at the start of the token's mini-batch, so that the tokens of one are computed at once; with
    mini-batches of 1 it is M_{t-1}. A loop over mini-batches. What is read is not normalised: that belongs to the
    mixer.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, k)``: with as many channels as keys.
        rate: ``(b, t, h)``.
        forget: from 0 to 1, ``(b, t, h)``.
        momentum: from 0 to 1, ``(b, t, h)``.
        gain: of the layer norm, ``(h, k)``.
        bias: of the layer norm, ``(h, k)``.
        state: what an earlier piece returned; None is a memory of zeros, at the start of a mini-batch.
        mini_batch: tokens whose gradients are taken at the same memory.
        gradient: that of the loss; the default is the one above.

    Returns:
        y, ``(b, t, h, k)``, in the dtype of `value`, and the state, in float32 or wider.

    Raises:
        ValueError: shapes that do not fit, a mini-batch of less than 1.

    Source: Behrouz et al. 2025, arXiv:2501.00663; with a layer norm in the loss as flash-linear-attention has it.
    """
    _check(query, value, {"rate": rate, "forget": forget, "momentum": momentum}, mini_batch)
    dtype = accumulation_dtype(query, key, value)
    with torch.autocast(query.device.type, enabled=False):
        q, k, v = query.to(dtype), key.to(dtype), value.to(dtype)
        tensors = q, k, v - k, rate.to(dtype), (1 - forget.to(dtype)), momentum.to(dtype)
        norm = gain.to(dtype), bias.to(dtype)
        before = zero_titans_state(query, dtype) if state is None else _widened(state, dtype)
        if query.shape[1] == 1:
            first = (x[:, 0] for x in tensors)
            out, after = _step(*first, state=before, norm=norm, mini_batch=mini_batch, gradient=gradient)
            return out[:, None].to(value.dtype), after
        batches = MiniBatches.of(None if state is None else state.phase, query, mini_batch)
        out, after = _by_mini_batch(batches, tensors, before, norm, gradient)
        return out.to(value.dtype), after


def titans_reference(  # noqa: PLR0917 - as `titans`
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rate: Tensor,
    forget: Tensor,
    momentum: Tensor,
    gain: Tensor,
    bias: Tensor,
    state: TitansState | None = None,
    *,
    mini_batch: int = 16,
    gradient: Gradient = layer_norm_gradient,
) -> tuple[Tensor, TitansState]:
    """`titans` one token at a time."""
    state, out = zero_titans_state(query, query.dtype) if state is None else state, []
    tensors = query, key, value - key, rate, 1 - forget, momentum
    for token in zip(*(x.unbind(1) for x in tensors), strict=True):
        now, state = _step(*token, state=state, norm=(gain, bias), mini_batch=mini_batch, gradient=gradient)
        out.append(now)
    return torch.stack(out, dim=1), state


def zero_titans_state(query: Tensor, dtype: torch.dtype) -> TitansState:
    """The memory of zeros of queries ``(b, t, h, k)``."""
    b, _, h, k = query.shape
    zero = query.new_zeros(b, h, k, k, dtype=dtype)
    phase = torch.zeros(b, dtype=torch.int64, device=query.device)
    return TitansState(zero, torch.zeros_like(zero), torch.zeros_like(zero), phase)


def _step(  # noqa: PLR0917 - as `titans`
    query: Tensor,
    key: Tensor,
    target: Tensor,
    rate: Tensor,
    keep: Tensor,
    momentum: Tensor,
    *,
    state: TitansState,
    norm: tuple[Tensor, Tensor],
    mini_batch: int,
    gradient: Gradient,
) -> tuple[Tensor, TitansState]:
    """One token, ``(b, h, ...)``."""
    rate, keep, momentum = (x[..., None, None] for x in (rate, keep, momentum))
    error = gradient((key[..., None, :] @ state.anchor).squeeze(-2), target, *norm)
    speed = momentum * state.momentum - rate * key[..., None] * error[..., None, :]
    memory = keep * state.memory + speed
    phase = (state.phase + 1) % mini_batch
    anchor = torch.where((phase == 0)[:, None, None, None], memory, state.anchor)
    return (query[..., None, :] @ memory).squeeze(-2), TitansState(memory, speed, anchor, phase)


def _by_mini_batch(
    batches: MiniBatches,
    tensors: tuple[Tensor, ...],
    state: TitansState,
    norm: tuple[Tensor, Tensor],
    gradient: Gradient,
) -> tuple[Tensor, TitansState]:
    query, key, target, rate, keep, momentum = (
        batches.cut(x if x.ndim == 4 else x[..., None])  # per token and head: one channel
        for x in tensors
    )
    gain, bias = (x[:, None] for x in norm)
    filled, complete = batches.filled(), batches.complete()
    # A slot without a token leaves everything as it is.
    keep, momentum = (x.masked_fill(~filled, 1) for x in (keep, momentum))
    to_memory, to_speed = _weights(keep, momentum, filled.to(keep.dtype))
    c = batches.size
    pairs = (query @ key.mT) * to_memory[..., :c]
    of_speed, of_memory = to_memory[..., c : c + 1], to_memory[..., c + 1 :]
    memory, speed, anchor, _ = state
    outs = []
    last = slice(c - 1, None)
    reads = query, key, target, rate, of_memory, of_speed, pairs
    writes = key * to_memory[..., last, :c].mT, of_memory[..., last, :], of_speed[..., last, :]
    speeds = key * to_speed[..., :c].mT, to_speed[..., c : c + 1]
    # unbound at once: the gradient of a slice a mini-batch would be a whole sequence a mini-batch
    by_batch = zip(*(x.unbind() for x in (*reads, *writes, *speeds, complete)), strict=True)
    for q, k, wanted, eta, from_memory, from_speed, among, kept_key, kept, added, moved_key, moved, ends in by_batch:
        change = -eta * gradient(k @ anchor, wanted, gain, bias)
        outs.append(from_memory * (q @ memory) + from_speed * (q @ speed) + among @ change)
        memory = kept * memory + added * speed + kept_key.mT @ change
        speed = moved * speed + moved_key.mT @ change
        anchor = torch.where(ends, memory, anchor)
    return batches.join(torch.stack(outs)), TitansState(memory, speed, anchor, batches.next_phase())


def _weights(keep: Tensor, momentum: Tensor, filled: Tensor) -> tuple[Tensor, Tensor]:
    """What becomes of each write in a mini-batch: the recurrences are linear, and run once for writes of 1.

    Args:
        keep: ``(n, b, h, c, 1)``.
        momentum: the same.
        filled: 1 where there is a token, ``(n, b, 1, c, 1)``.

    Returns:
        How much of the write of token j is in the memory at token i, ``(n, b, h, c, c + 2)``, and in the momentum
        behind the last, ``(n, b, h, 1, c + 2)``; the last two columns are the momentum before, and the memory before.
    """
    n, b, h, c, _ = keep.shape
    unit = torch.eye(c + 2, dtype=keep.dtype, device=keep.device)
    keep, momentum = (x.flatten(0, 2) for x in (keep, momentum))
    every = (n * b * h, c, c + 2)
    speeds, last = scan(momentum.expand(every), unit[:c].expand(every), unit[c].expand(n * b * h, -1))
    entering = speeds.unflatten(0, (n, b, h)) * filled
    memories, _ = scan(keep.expand(every), entering.flatten(0, 2), unit[c + 1].expand(n * b * h, -1))
    return memories.unflatten(0, (n, b, h)), last.unflatten(0, (n, b, h))[..., None, :]


def _widened(state: TitansState, dtype: torch.dtype) -> TitansState:
    memory, momentum, anchor = (x.to(dtype) for x in state[:3])
    return TitansState(memory, momentum, anchor, state.phase)


def _check(query: Tensor, value: Tensor, gates: dict[str, Tensor], mini_batch: int) -> None:
    if value.shape != query.shape:
        found = f"value has the shape {tuple(value.shape)}"
        raise ValueError(f"{found}: expected that of query and key, {tuple(query.shape)} (b, t, h, k)")
    for name, gate in gates.items():
        if gate.shape != query.shape[:3]:
            raise ValueError(f"{name} has the shape {tuple(gate.shape)}: expected {tuple(query.shape[:3])} (b, t, h)")
    if mini_batch < 1:
        raise ValueError(f"mini_batch must be 1 or more, not {mini_batch}")
