"""A state that decays and is written to: linear attention, retention, gated linear attention, RWKV-6, Mamba-2."""

from typing import Literal

import torch
from torch import Tensor

from mixers.ops.carry import carry
from mixers.ops.decay_chunks import (
    ZERO,
    accumulation_dtype,
    chunk_length,
    from_chunks,
    into_chunks,
    resets,
    segments,
)
from mixers.ops.decay_pairs import factored_pairs, scalar_pairs
from mixers.ops.safe_pairs import safe_pairs

LARGEST = 80.0
"""The largest exponent of a factor, so that it stays finite in float32, and so does its product with a gradient."""

CHUNK, SAFE_CHUNK = 64, 32
"""Tokens a chunk, and where decays a channel have no floor: measured on a CPU, forward and backward."""

SPAN = 1024
"""Tokens computed at a time, whole chunks: what is made for more is paged in anew by the default allocator."""

Read = Literal["after", "before"]


def decay(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor | None = None,
    *,
    read: Read = "after",
    bonus: Tensor | None = None,
    floor: float | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Read a state that decays and takes the outer product of a key and a value at each token.

        S_t = Diag(exp(w_t)) S_{t-1} + k_t v_t^T
        y_t = S_t^T q_t                                       read="after"
        y_t = S_{t-1}^T q_t + <q_t, u * k_t> v_t              read="before"

    In chunks: the tokens of one read each other through a matrix of pairs, and all before them through the state.
    Time is linear in t. Nothing is scaled or normalised: that belongs to the mixer.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        log_decay: w, zero or less: None for no decay, ``(h,)`` a constant, ``(b, t, h)`` one a head, ``(b, t, h, k)``
            one a channel.
        state: S before the first token, ``(b, h, k, v)``; None is zero. It belongs to the row's first document.
        read: whether a token reads the state after its own decay and write, or before both.
        bonus: u, ``(h, k)``, with ``read="before"``: how much a token reads of its own write.
        floor: the least log decay of a token and channel that the caller promises. A decay a channel costs a seventh
            less with -5 or more. What it promises is not checked: decays below may overflow.
        documents: which document each token belongs to, ``(b, t)``; each starts from a zero state.

    Returns:
        y, ``(b, t, h, v)``, in the dtype of `value`, and S after the last token, in float32 or wider.

    Raises:
        ValueError: shapes that do not fit, a bonus with ``read="after"``, a floor above 0.

    Source: Katharopoulos et al. 2020, arXiv:2006.16236; Yang et al. 2023, arXiv:2312.06635; read before the write with
    a bonus: Peng et al. 2024, arXiv:2404.05892; one decay a head: Dao & Gu 2024, arXiv:2405.21060.
    """
    _check_options(read, bonus, floor)
    _check_shapes(query, key=key, value=value, log_decay=log_decay, state=state, bonus=bonus)
    dtype = accumulation_dtype(query, key, value)
    forgets = None if documents is None else resets(documents, value)
    with torch.autocast(query.device.type, enabled=False):
        wide = query.to(dtype), key.to(dtype), value.to(dtype)
        before = _state(query, value, dtype) if state is None else state.to(dtype)
        decays = _by_token(log_decay, query, dtype)
        extra = None if bonus is None else bonus.to(dtype)
        if query.shape[1] == 1:
            q, k, v = (x[:, 0] for x in wide)
            out, after = _step(q, k, v, decays[:, 0], before, read=read, bonus=extra)
            return out[:, None].to(value.dtype), after
        outs = []
        spans = zip(*(x.split(SPAN, dim=1) for x in (*wide, decays)), strict=True)
        for n, (q, k, v, w) in enumerate(spans):
            within = None if forgets is None else forgets[:, n * SPAN : n * SPAN + SPAN]
            out, before = _chunked(q, k, v, w, before, read=read, bonus=extra, floor=floor, forgets=within)
            outs.append(out)
        out = outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)
        return out.to(value.dtype), before


def decay_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    state: Tensor | None = None,
    *,
    read: Read = "after",
    bonus: Tensor | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`decay` one token at a time."""
    decays = _by_token(log_decay, query, value.dtype).expand(query.shape[0], -1, query.shape[2], -1)
    state = _state(query, value, value.dtype) if state is None else state
    forgets = None if documents is None else resets(documents, value)
    # unbound at once: the gradient of a slice a token would be a whole sequence a token
    tokens = zip(query.unbind(1), key.unbind(1), value.unbind(1), decays.unbind(1), strict=True)
    out = []
    for t, (q, k, v, w) in enumerate(tokens):
        if forgets is not None:
            state = state.masked_fill(forgets[:, t, None, None, None], 0)
        now, state = _step(q, k, v, w, state, read=read, bonus=bonus)
        out.append(now)
    return torch.stack(out, dim=1), state


def _step(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, state: Tensor, *, read: Read, bonus: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One token, ``(b, h, ·)``, its log decay ``(b, h, k or 1)``."""
    after = log_decay.exp()[..., None] * state + key[..., None] * value[..., None, :]
    out = (query[..., None, :] @ (after if read == "after" else state)).squeeze(-2)
    if bonus is not None:
        out = out + (query * bonus * key).sum(-1, keepdim=True) * value
    return out, after


def _chunked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    state: Tensor,
    *,
    read: Read,
    bonus: Tensor | None,
    floor: float | None,
    forgets: Tensor | None,
) -> tuple[Tensor, Tensor]:
    t, by_channel = query.shape[1], log_decay.shape[-1] > 1
    own = None if bonus is None else (query * bonus * key).sum(-1, keepdim=True) * value
    c = chunk_length(t, _chunk_limit(by_channel, floor))
    if forgets is not None:
        # a document's first token decays nothing of its own, and -inf there must not reach the running sum
        log_decay = log_decay.masked_fill(forgets[..., None, None], 0)
    query, key, value, log_decay = (into_chunks(x, c) for x in (query, key, value, log_decay))
    masks = None if forgets is None else segments(forgets, c)
    if by_channel and not _factored_chunk(floor):
        found = safe_pairs(query[..., None, :], key[..., None, :], log_decay, after=int(read == "after"))
        pairs, query, key = found.pairs[:, :, :, 0, 0], found.rows[..., 0, :], found.columns[..., 0, :]
        keeps = found.whole[..., None, :]
        pairs = pairs if masks is None else pairs.masked_fill(~masks.same, 0)
    else:
        pairs, query, key, keeps = _by_running_sums(query, key, log_decay, read, None if masks is None else masks.same)
    if masks is not None:
        query, key = query.masked_fill(~masks.enters, 0), key.masked_fill(~masks.leaves, 0)
        keeps = keeps.masked_fill(~masks.keeps, 0)
    states, after = carry(keeps.mT, key.mT @ value, state)
    out = from_chunks(pairs @ value + query @ states, t)
    return out if own is None else out + own, after


def _by_running_sums(
    query: Tensor, key: Tensor, log_decay: Tensor, read: Read, same: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The matrix of pairs, queries decayed from a chunk's start, keys decayed to its end, and the decay of all of it.

    `same`: both tokens of a pair are of one document.
    """
    c, by_channel = query.shape[-2], log_decay.shape[-1] > 1
    if not by_channel:
        # exp is 0 from there on: lower ones would change nothing but the rounding of the sum, and -inf spoil it
        log_decay = log_decay.clamp_min(ZERO[query.dtype])
    write = log_decay.cumsum(-2)
    before = write if read == "after" else torch.nn.functional.pad(write[..., :-1, :], (0, 0, 1, 0))
    seen = torch.ones(c, c, dtype=torch.bool, device=query.device).tril(0 if read == "after" else -1)
    form = factored_pairs if by_channel else scalar_pairs
    pairs = form(query, key, before, write, seen if same is None else seen & same)
    last = write[..., -1:, :]
    return pairs, query * before.exp(), key * (last - write).exp(), last.exp()


def _chunk_limit(by_channel: bool, floor: float | None) -> int:
    return (_factored_chunk(floor) or SAFE_CHUNK) if by_channel else CHUNK


def _factored_chunk(floor: float | None) -> int:
    """The longest chunk whose pairs can be factored with this floor; 0 where none can."""
    if floor is None:
        return 0
    return next((c for c in (CHUNK, CHUNK // 2, CHUNK // 4) if -floor * c / 2 <= LARGEST), 0)


def _by_token(log_decay: Tensor | None, query: Tensor, dtype: torch.dtype) -> Tensor:
    """Log decays ``(b or 1, t, h or 1, k or 1)``; what all rows share is computed once."""
    if log_decay is None:
        return query.new_zeros(1, query.shape[1], 1, 1, dtype=dtype)
    log_decay = log_decay.to(dtype)
    if log_decay.ndim == 1:
        return log_decay[None, None, :, None].expand(1, query.shape[1], -1, 1)
    return log_decay[..., None] if log_decay.ndim == 3 else log_decay


def _state(query: Tensor, value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.new_zeros(query.shape[0], query.shape[2], query.shape[3], value.shape[3], dtype=dtype)


def _check_options(read: str, bonus: Tensor | None, floor: float | None) -> None:
    if read not in ("after", "before"):
        raise ValueError(f'read must be "after" or "before", not {read!r}')
    if bonus is not None and read == "after":
        raise ValueError('a bonus needs read="before": after its write a token reads it anyway')
    if floor is not None and floor > 0:
        raise ValueError(f"floor must be 0 or less, the least log decay of a token, not {floor}")


def _check_shapes(query: Tensor, **tensors: Tensor | None) -> None:
    b, t, h, k = query.shape
    value = tensors["value"]
    assert value is not None
    v = value.shape[-1]
    expected: dict[str, list[tuple[int, ...]]] = {
        "key": [(b, t, h, k)],
        "value": [(b, t, h, v)],
        "log_decay": [(h,), (b, t, h), (b, t, h, k)],
        "state": [(b, h, k, v)],
        "bonus": [(h, k)],
    }
    for name, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) not in expected[name]:
            shapes = " or ".join(map(str, expected[name]))
            found = f"{name} has the shape {tuple(tensor.shape)}"
            raise ValueError(f"{found}: expected {shapes} for a query of {tuple(query.shape)} (b, t, h, k)")
