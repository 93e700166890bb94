"""The mesa layer: at each token, the linear map that fits all keys to their values best, read by the query."""

import torch
from torch import Tensor

from mixers.ops import flops as flops  # noqa: PLC0414 - it counts what torch's counter does not know
from mixers.ops.decay import decay
from mixers.ops.decay_chunks import (
    ZERO,
    accumulation_dtype,
    carry,
    chunk_length,
    from_chunks,
    into_chunks,
    resets,
    segments,
)

CHUNK = 16
"""Tokens whose matrices are made in one product: it costs ``2 c k**2`` operations a token, and Cholesky ``k**3 / 3``."""

STEPS = 2
"""Newton steps behind the solution: the first makes its first derivatives right, the second its second ones."""

State = tuple[Tensor, Tensor]


def mesa(  # noqa: PLR0917 - what the recurrence is made of, in its order
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    ridge: Tensor,
    state: State | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Read with the solution of ridge regression from all keys so far to their values.

        A_t = exp(g_t) A_{t-1} + beta_t k_t k_t^T        C_t = exp(g_t) C_{t-1} + beta_t k_t v_t^T
        y_t = C_t^T (A_t + Diag(ridge))^{-1} q_t

    That is y_t = M^T q_t for the M that minimises the sum over s <= t of ``exp(g_{s+1} + ... + g_t) beta_s |M^T k_s -
    v_s|**2``, plus the squares of M's rows times `ridge`. Each token's matrix is decomposed on its own (Cholesky):
    ``k**3 / 3`` operations and ``k**2`` numbers of memory a token and head. Nothing is scaled.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        log_decay: g, zero or less, ``(b, t, h)``.
        beta: how much a token counts, zero or more, ``(b, t, h)``.
        ridge: above zero, ``(h, k)``.
        state: A, ``(b, h, k, k)``, and C, ``(b, h, k, v)``, before the first token; None is zero. It belongs to the
            row's first document. A is taken to be symmetric.
        documents: which document each token belongs to, ``(b, t)``; each starts from a zero state.

    Returns:
        y, ``(b, t, h, v)``, in the dtype of `value`, and A and C after the last token, in float32 or wider.

    Raises:
        ValueError: shapes that do not fit.

    Source: von Oswald et al. 2025, arXiv:2506.05233, which solves by 30 steps of conjugate gradients.
    """
    _check(query, log_decay, beta, ridge)
    dtype = accumulation_dtype(query, key, value)
    with torch.autocast(query.device.type, enabled=False):
        query, key, wide = query.to(dtype), key.to(dtype), value.to(dtype)
        log_decay, ridge, weight = log_decay.to(dtype), ridge.to(dtype), beta.to(dtype)[..., None]
        covariance, memory = (None, None) if state is None else state
        with torch.no_grad():
            made = _matrices(key, weight, log_decay, covariance, documents)
            factor = torch.linalg.cholesky_ex(made + ridge.diag_embed()).L
            solution = _solve(factor, query)
        written, transposed = weight * key, None if covariance is None else covariance.mT
        for _ in range(STEPS):
            # The factor is a constant to autograd, whose own formula would need several products k**3 a token. At the
            # solution a step of Newton's changes no more than rounding, and has its derivatives.
            product, after = decay(solution, written, key, log_decay, transposed, documents=documents)
            solution = solution + _solve(factor, query - product - ridge * solution)
        out, read = decay(solution, key, weight * wide, log_decay, memory, documents=documents)
        return out.to(value.dtype), (after.mT.contiguous(), read)


def mesa_reference(  # noqa: PLR0917 - as `mesa`
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    ridge: Tensor,
    state: State | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, State]:
    """`mesa` one token at a time."""
    b, t, h, k = query.shape
    forgets = None if documents is None else resets(documents, value)
    covariance, memory = (value.new_zeros(b, h, k, n) for n in (k, value.shape[-1])) if state is None else state
    out = []
    for i in range(t):
        if forgets is not None:
            covariance, memory = (x.masked_fill(forgets[:, i, None, None, None], 0) for x in (covariance, memory))
        keep, weighed = log_decay[:, i, :, None, None].exp(), (beta[:, i, :, None] * key[:, i])[..., None]
        covariance = keep * covariance + weighed * key[:, i, :, None]
        memory = keep * memory + weighed * value[:, i, :, None]
        solution = torch.linalg.solve(covariance + ridge.diag_embed(), query[:, i])
        out.append((memory.mT @ solution[..., None]).squeeze(-1))
    return torch.stack(out, dim=1), (covariance, memory)


def _matrices(
    key: Tensor, weight: Tensor, log_decay: Tensor, state: Tensor | None, documents: Tensor | None
) -> Tensor:
    """A of each token, ``(b, t, h, k, k)``."""
    b, t, h, k = key.shape
    before = key.new_zeros(b, h, k * k, 1) if state is None else state.to(key.dtype).reshape(b, h, k * k, 1)
    forgets = None if documents is None else resets(documents, key)
    decays = log_decay[..., None]
    if forgets is not None:
        # a document's first token decays nothing of its own, and -inf there must not reach the running sum
        decays = decays.masked_fill(forgets[..., None, None], 0)
    c = chunk_length(t, CHUNK)
    keys, weights, decays = (into_chunks(x, c) for x in (key, weight, decays.clamp_min(ZERO[key.dtype])))
    squares = (keys[..., :, None] * keys[..., None, :]).flatten(-2)
    since = decays.cumsum(-2)
    seen = torch.ones(c, c, dtype=torch.bool, device=key.device).tril()
    last = since[..., -1:, :]
    enters, leaves, keeps = since.exp(), (last - since).exp() * weights, last.exp()
    if forgets is not None:
        masks = segments(forgets, c)
        seen = seen & masks.same
        enters, leaves = enters.masked_fill(~masks.enters, 0), leaves.masked_fill(~masks.leaves, 0)
        keeps = keeps.masked_fill(~masks.keeps, 0)
    pairs = (since - since.mT).masked_fill(~seen, -torch.inf).exp() * weights.mT
    states, _ = carry(keeps, squares.mT @ leaves, before)
    return from_chunks(pairs @ squares + enters * states.mT, t).unflatten(-1, (k, k))


def _solve(factor: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right[..., None], factor).squeeze(-1)


def _check(query: Tensor, log_decay: Tensor, beta: Tensor, ridge: Tensor) -> None:
    heads, channels = query.shape[2:]
    for name, gate in {"log_decay": log_decay, "beta": beta}.items():
        if gate.shape != query.shape[:3]:
            raise ValueError(f"{name} has the shape {tuple(gate.shape)}: expected {tuple(query.shape[:3])} (b, t, h)")
    if ridge.shape != (heads, channels):
        raise ValueError(f"ridge has the shape {tuple(ridge.shape)}: expected {(heads, channels)} (h, k)")
