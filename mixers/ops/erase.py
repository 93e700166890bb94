"""Erasing recurrences: a state that decays, is erased along one direction a token, and is written to."""

import torch
from torch import Tensor

from mixers.ops import flops  # noqa: F401 - registers what a triangular solve costs
from mixers.ops.documents import check_documents, starts
from mixers.ops.erase_chunks import Tokens, erase_pieces


def erase(  # noqa: PLR0917 - the order in which the equation has them
    query: Tensor,
    a: Tensor,
    b: Tensor,
    value: Tensor,
    log_decay: Tensor | None = None,
    state: Tensor | None = None,
    *,
    key: Tensor | None = None,
    floor: float | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Read a state that each token lets decay, erases along one direction, and writes to.

        S[t] = Diag(e^w[t]) S[t-1] + b[t] (a[t]^T S[t-1]) + key[t] value[t]^T        out[t] = S[t]^T query[t]

    ``a`` reads the state before its decay. Who erases from the decayed state, as the gated delta rule does, multiplies
    e^w into ``a``. Without `key`, what is written goes along ``b``, and the chunks are coupled by two matrices in place
    of four: the delta rule is ``a = -key, b = beta * key``. Nothing is scaled or normalised.

    Chunks of tokens, each solved as one triangular system; between them the state. Twice differentiable. A sequence
    of one token is one step of the recurrence. Time and memory are linear in t.

    Args:
        query: ``(b, t, h, k)``.
        a: what is read of the state in order to erase, ``(b, t, h, k)``; for a delta rule it is negative.
        b: along what is erased, ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        log_decay: w <= 0, the natural logarithm of the decay of a head, ``(b, t, h)``, or of each of its key
            channels, ``(b, t, h, k)``; None is no decay. Any finite value, however low, neither overflows nor spoils a
            gradient.
        state: what an earlier piece returned, ``(b, h, k, v)``; None is zero. It is not modified.
        key: along what is written, ``(b, t, h, k)``; None is ``b``.
        floor: a promise that no log decay of a channel is below it, for a form that takes a fifth less time: one plain
            matrix product for chunks of up to 160 / -floor tokens. From -20 on none is worth it. A promise that is
            broken gives numbers that are not finite.
        documents: which document each token belongs to, ``(b, t)``, int64: each is mixed as if it were alone. A
            document is a maximal run of equal ids in a row; `state` belongs to the first one of each row, and what is
            returned to the last.

    Returns:
        ``(b, t, h, v)`` in the dtype of `value`, and the state after the last token, ``(b, h, k, v)``, in float32 or
        wider.

    Raises:
        ValueError: a shape does not fit that of `query`, `floor` is above 0, or `documents` is not ``(b, t)``.

    Source: the chunks are the UT transform of Yang et al. 2024, arXiv:2406.06484, with decay as in arXiv:2412.06464 and
    for channels in arXiv:2510.26692; with a key of its own as in Peng et al. 2025, arXiv:2503.14456.
    """
    tokens, state, new = _prepared(Tokens(query, a, b, key, value, log_decay), state, floor, documents)
    with torch.autocast(query.device.type, enabled=False):  # products of the state would be narrower than the state
        if query.shape[1] == 1:
            out, following = _step(tokens.unbind()[0], state)
            out = out[:, None]
        else:
            out, following = erase_pieces(tokens, state, floor, new)
    return out.to(value.dtype), following


def erase_reference(  # noqa: PLR0917 - as `erase`
    query: Tensor,
    a: Tensor,
    b: Tensor,
    value: Tensor,
    log_decay: Tensor | None = None,
    state: Tensor | None = None,
    *,
    key: Tensor | None = None,
    floor: float | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same as `erase`, one token at a time."""
    tokens, state, new = _prepared(Tokens(query, a, b, key, value, log_decay), state, floor, documents)
    rows = []
    for t, token in enumerate(tokens.unbind()):
        if new is not None:
            state = state.masked_fill(new[:, t, None, None, None], 0)
        row, state = _step(token, state)
        rows.append(row)
    return torch.stack(rows, dim=1).to(value.dtype), state


def _step(token: Tokens, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token of all rows, everything ``(b, h, ...)``: what it reads, and the state after it."""
    query, a, b, key, value, log_decay = token
    erased = torch.einsum("bhk,bhkv->bhv", a, state)
    if log_decay is not None:
        state = state * log_decay.exp().reshape(*log_decay.shape[:2], -1, 1)
    state = state + torch.einsum("bhk,bhv->bhkv", b, erased)
    state = state + torch.einsum("bhk,bhv->bhkv", b if key is None else key, value)
    return torch.einsum("bhk,bhkv->bhv", query, state), state


def _prepared(
    tokens: Tokens, state: Tensor | None, floor: float | None, documents: Tensor | None
) -> tuple[Tokens, Tensor, Tensor | None]:
    """Checked, in the dtype that is accumulated in, with a state; and where the state is dropped, ``(b, t)``.

    That is where a document starts which is not the first of its row: the first goes on from the state.
    """
    query, value = tokens.query, tokens.value
    shape = (query.shape[0], *query.shape[2:], value.shape[-1])
    _check(tokens, state, shape, floor)
    dtype = torch.promote_types(query.dtype, torch.float32)
    tokens = tokens.to(dtype)
    state = query.new_zeros(shape, dtype=dtype) if state is None else state.to(dtype)
    if documents is None:
        return tokens, state, None
    check_documents(documents, query)
    return tokens, state, starts(documents) & (torch.arange(query.shape[1], device=query.device) > 0)


def _check(tokens: Tokens, state: Tensor | None, expected: tuple[int, ...], floor: float | None) -> None:
    query, a, b, key, value, log_decay = tokens
    for name, x in {"a": a, "b": b, "key": key}.items():
        if x is not None and x.shape != query.shape:
            raise ValueError(f"{name} has the shape {tuple(x.shape)}: expected that of query, {tuple(query.shape)}")
    if value.ndim != query.ndim or value.shape[:3] != query.shape[:3]:
        raise ValueError(f"value has the shape {tuple(value.shape)}: expected {(*query.shape[:3], 'v')} (b, t, h, v)")
    if log_decay is not None and log_decay.shape not in (query.shape, query.shape[:3]):
        raise ValueError(
            f"log_decay has the shape {tuple(log_decay.shape)}: expected {tuple(query.shape[:3])}, one a head, or "
            f"{tuple(query.shape)}, one a channel"
        )
    if state is not None and state.shape != expected:
        raise ValueError(f"state has the shape {tuple(state.shape)}: expected {expected} (b, h, k, v)")
    if floor is not None and floor > 0:
        raise ValueError(f"floor must be 0 or less, not {floor}: it is a log decay")
