"""The matrix memory of xLSTM: a decaying state with an exponential input gate, kept in range by a running maximum."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.carry import carry
from mixers.ops.decay_chunks import (
    accumulation_dtype,
    chunk_length,
    from_chunks,
    into_chunks,
    resets,
    segments,
)

CHUNK = 64
LARGEST = 80.0
"""``exp(-m)`` beyond would be infinite in float32; what it divides is then far below rounding."""

State = tuple[Tensor, Tensor, Tensor]


def mlstm(  # noqa: PLR0917 - what the recurrence is made of, in its order
    query: Tensor,
    key: Tensor,
    value: Tensor,
    input_gate: Tensor,
    forget_gate: Tensor,
    state: State | None = None,
    *,
    epsilon: float = 1e-6,
    documents: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Write with an exponential gate, forget with a sigmoid, and read relative to what was written.

        m_t = max(f_t + m_{t-1}, i_t)                                         f = logsigmoid(forget gate)
        C_t = exp(f_t + m_{t-1} - m_t) C_{t-1} + exp(i_t - m_t) k_t v_t^T     n alike, with 1 for v_t
        y_t = C_t^T q_t / (max(|<n_t, q_t>|, exp(-m_t)) + epsilon)

    m only keeps C and n in range: but for epsilon, y does not depend on it. Here it starts at -inf, so that the first
    token sets it. Nothing is scaled: the published mixer multiplies its query, or its key, by ``k ** -0.5``.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        input_gate: i, the logarithm of the gate, ``(b, t, h)``.
        forget_gate: before the sigmoid, ``(b, t, h)``.
        state: C, ``(b, h, k, v)``, n, ``(b, h, k)``, and m, ``(b, h)``, before the first token; None is 0, 0, -inf.
        epsilon: added to the denominator.
        documents: which document each token belongs to, ``(b, t)``; each starts from an empty memory.

    Returns:
        y, ``(b, t, h, v)``, in the dtype of `value`, and the state after the last token, in float32 or wider.

    Source: Beck et al. 2024, arXiv:2405.04517.
    """
    t, dtype = query.shape[1], accumulation_dtype(query, key, value)
    forgets = None if documents is None else resets(documents, value)
    with torch.autocast(query.device.type, enabled=False):
        memory, maximum = _memory(query, value, state, dtype)
        # n is one more column of C, read and written with 1 in the place of a value
        gates = input_gate.to(dtype), F.logsigmoid(forget_gate.to(dtype))
        wide = query.to(dtype), key.to(dtype), F.pad(value.to(dtype), (0, 1), value=1.0)
        if t == 1:
            sums, memory, maximum = _step(*(x[:, 0] for x in (*wide, *gates)), memory=memory, maximum=maximum)
            out = _read(sums, maximum, epsilon)[:, None]
        else:
            sums, local, memory, maximum = _chunked(*wide, *gates, memory=memory, maximum=maximum, forgets=forgets)
            out = from_chunks(_read(sums, local, epsilon), t)
        return out.to(value.dtype), _state(memory, maximum)


def mlstm_reference(  # noqa: PLR0917 - as in mlstm
    query: Tensor,
    key: Tensor,
    value: Tensor,
    input_gate: Tensor,
    forget_gate: Tensor,
    state: State | None = None,
    *,
    epsilon: float = 1e-6,
    documents: Tensor | None = None,
) -> tuple[Tensor, State]:
    """`mlstm` one token at a time."""
    memory, maximum = _memory(query, value, state, value.dtype)
    forgets = None if documents is None else resets(documents, value)
    inputs = query, key, F.pad(value, (0, 1), value=1.0), input_gate, F.logsigmoid(forget_gate)
    out = []
    for t in range(query.shape[1]):
        if forgets is not None:
            memory = memory.masked_fill(forgets[:, t, None, None, None], 0)
            maximum = maximum.masked_fill(forgets[:, t, None], -torch.inf)
        sums, memory, maximum = _step(*(x[:, t] for x in inputs), memory=memory, maximum=maximum)
        out.append(_read(sums, maximum, epsilon))
    return torch.stack(out, dim=1), _state(memory, maximum)


def _step(
    query: Tensor, key: Tensor, value: Tensor, write: Tensor, forget: Tensor, *, memory: Tensor, maximum: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One token, ``(b, h, ·)``, and its logarithmic gates, ``(b, h)``."""
    kept = forget + maximum
    maximum = torch.maximum(kept, write)
    keep, add = (kept - maximum).exp(), (write - maximum).exp()
    memory = keep[..., None, None] * memory + add[..., None, None] * key[..., None] * value[..., None, :]
    return (query[..., None, :] @ memory).squeeze(-2), memory, maximum


def _chunked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    write: Tensor,
    forget: Tensor,
    *,
    memory: Tensor,
    maximum: Tensor,
    forgets: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sums that are read and the m of each token, in chunks, then the memory and its m after the last token."""
    c = chunk_length(query.shape[1], CHUNK)
    masks = None if forgets is None else segments(forgets, c)
    query, key, value, forget = (into_chunks(x, c) for x in (query, key, value, forget))
    write = into_chunks(write, c, fill=-torch.inf)
    total = forget.cumsum(-1)
    # the logarithm of what token i reads of token j's write, and its largest: what m would be without the past
    seen = torch.ones(c, c, dtype=torch.bool, device=query.device).tril()
    weights = total[..., :, None] - total[..., None, :] + write[..., None, :]
    weights = weights.masked_fill(~(seen if masks is None else seen & masks.same), -torch.inf)
    local = weights.amax(-1)
    entering, keeping = total, total[..., -1]
    if masks is not None:
        entering = entering.masked_fill(~masks.enters.squeeze(-1), -torch.inf)
        keeping = keeping.masked_fill(~masks.keeps[..., 0, 0], -torch.inf)
    before, after = _carry_maximum(keeping, local[..., -1], maximum)
    maxima = torch.maximum(entering + before[..., None], local)
    following = torch.cat([before[..., 1:], after[..., None]], dim=-1)
    # the last token's row of weights is what is left of each write at the end of the chunk
    leaves = (weights[..., -1, :] - following[..., None]).exp()[..., None]
    keeps = (keeping + before - following).exp()[..., None, None]
    memories, memory = carry(keeps, (key * leaves).mT @ value, memory)
    pairs = (query @ key.mT) * (weights - maxima[..., None]).exp()
    enters = (entering + before[..., None] - maxima).exp()[..., None]
    return pairs @ value + (query * enters) @ memories, maxima, memory, after


def _carry_maximum(keep: Tensor, write: Tensor, maximum: Tensor) -> tuple[Tensor, Tensor]:
    """m before each chunk, ``(b, h, n)``, and after the last: a loop over numbers, one a head."""
    before = []
    for kept, written in zip(keep.unbind(-1), write.unbind(-1), strict=True):
        before.append(maximum)
        maximum = torch.maximum(kept + maximum, written)
    return torch.stack(before, dim=-1), maximum


def _read(sums: Tensor, maximum: Tensor, epsilon: float) -> Tensor:
    least = (-maximum).clamp_max(LARGEST).exp()
    return sums[..., :-1] / (torch.maximum(sums[..., -1].abs(), least) + epsilon)[..., None]


def _memory(query: Tensor, value: Tensor, state: State | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """C with n as its last column, ``(b, h, k, v + 1)``, and m."""
    if state is not None:
        matrix, normalizer, maximum = (x.to(dtype) for x in state)
        return torch.cat([matrix, normalizer[..., None]], dim=-1), maximum
    b, _, h, k = query.shape
    memory = query.new_zeros(b, h, k, value.shape[-1] + 1, dtype=dtype)
    return memory, query.new_full((b, h), -torch.inf, dtype=dtype)


def _state(memory: Tensor, maximum: Tensor) -> State:
    return memory[..., :-1].contiguous(), memory[..., -1].contiguous(), maximum
