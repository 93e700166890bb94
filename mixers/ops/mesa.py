"""The mesa layer: at each token, the linear map that fits all keys to their values best, read by the query."""

import torch
from torch import Tensor

from mixers.ops import flops as flops  # noqa: PLC0414 - it counts what torch's counter does not know
from mixers.ops.carry import carry
from mixers.ops.decay import decay
from mixers.ops.decay_chunks import (
    ZERO,
    accumulation_dtype,
    chunk_length,
    from_chunks,
    into_chunks,
    resets,
    segments,
)

CHUNK = 16
"""Tokens whose matrices are one product: it costs ``2 c k**2`` operations a token, and Cholesky ``k**3 / 3``."""

SPAN = 64
"""Tokens whose matrices are made and decomposed at a time: what fits no cache takes several times as long."""

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
    dtype, forgets = accumulation_dtype(query, key, value), _resets(documents, value)
    with torch.autocast(query.device.type, enabled=False):
        wide = (x.to(dtype) for x in (query, key, value, log_decay, beta))
        spans = zip(*(x.split(SPAN, dim=1) for x in (*wide, forgets)), strict=True)
        covariance, memory = _zero(key, value, dtype) if state is None else (x.to(dtype) for x in state)
        outs = []
        for *tensors, fresh in spans:
            covariance, memory = (x.masked_fill(fresh[:, 0, None, None, None], 0) for x in (covariance, memory))
            within = None if documents is None else fresh.cumsum(1)
            out, covariance, memory = _span(
                *tensors, ridge=ridge.to(dtype), covariance=covariance, memory=memory, documents=within
            )
            outs.append(out)
        return torch.cat(outs, dim=1).to(value.dtype), (covariance, memory)


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
    forgets = _resets(documents, value)
    covariance, memory = _zero(key, value, value.dtype) if state is None else state
    out = []
    for i in range(query.shape[1]):
        covariance, memory = (x.masked_fill(forgets[:, i, None, None, None], 0) for x in (covariance, memory))
        keep, weighed = log_decay[:, i, :, None, None].exp(), (beta[:, i, :, None] * key[:, i])[..., None]
        covariance = keep * covariance + weighed * key[:, i, :, None]
        memory = keep * memory + weighed * value[:, i, :, None]
        solution = torch.linalg.solve(covariance + ridge.diag_embed(), query[:, i])
        out.append((memory.mT @ solution[..., None]).squeeze(-1))
    return torch.stack(out, dim=1), (covariance, memory)


def _span(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    *,
    ridge: Tensor,
    covariance: Tensor,
    memory: Tensor,
    documents: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, A and C of some tokens, whose first document is that of the state."""
    weight = beta[..., None]
    with torch.no_grad():
        factor = _factors(key, weight, log_decay, ridge, covariance, documents)
        solution = _solve(factor, query)
    written = weight * key
    for _ in range(STEPS):
        # The factor is a constant to autograd, whose own formula would need several products k**3 a token. At the
        # solution a step of Newton's changes no more than rounding, and has its derivatives.
        product, after = decay(solution, written, key, log_decay, covariance.mT, documents=documents)
        solution = solution + _solve(factor, query - product - ridge * solution)
    out, read = decay(solution, key, weight * value, log_decay, memory, documents=documents)
    return out, after.mT.contiguous(), read


def _factors(  # noqa: PLR0917 - as `mesa`
    key: Tensor, weight: Tensor, log_decay: Tensor, ridge: Tensor, state: Tensor, documents: Tensor | None
) -> Tensor:
    """The lower Cholesky factor of each token's matrix, in chunks, ``(b, h, n, c, k, k)``; not to be differentiated."""
    k, decays = key.shape[-1], log_decay[..., None]
    c = chunk_length(key.shape[1], CHUNK)
    forgets = None if documents is None else resets(documents, key)
    if forgets is not None:
        # a document's first token decays nothing of its own, and -inf there must not reach the running sum
        decays = decays.masked_fill(forgets[..., None, None], 0)
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
    states, _ = carry(keeps, squares.mT @ leaves, state.flatten(-2)[..., None])
    matrices = (pairs @ squares).addcmul_(enters, states.mT).unflatten(-1, (k, k))
    matrices.diagonal(dim1=-2, dim2=-1).add_(ridge[:, None, None])
    factor, _ = torch.linalg.cholesky_ex(matrices)
    return factor


def _solve(factor: Tensor, right: Tensor) -> Tensor:
    """``(b, t, h, k)`` to the same; twice as fast as ``cholesky_solve``, which copies the factor."""
    half = torch.linalg.solve_triangular(factor, into_chunks(right, factor.shape[3])[..., None], upper=False)
    whole = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return from_chunks(whole.squeeze(-1), right.shape[1])


def _resets(documents: Tensor | None, x: Tensor) -> Tensor:
    """Where the state is forgotten, ``(b, t)``, bool."""
    return x.new_zeros(x.shape[:2], dtype=torch.bool) if documents is None else resets(documents, x)


def _zero(key: Tensor, value: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    shape = key.shape[0], *key.shape[2:]
    return value.new_zeros(*shape, key.shape[-1], dtype=dtype), value.new_zeros(*shape, value.shape[-1], dtype=dtype)


def _check(query: Tensor, log_decay: Tensor, beta: Tensor, ridge: Tensor) -> None:
    heads, channels = query.shape[2:]
    for name, gate in {"log_decay": log_decay, "beta": beta}.items():
        if gate.shape != query.shape[:3]:
            raise ValueError(f"{name} has the shape {tuple(gate.shape)}: expected {tuple(query.shape[:3])} (b, t, h)")
    if ridge.shape != (heads, channels):
        raise ValueError(f"ridge has the shape {tuple(ridge.shape)}: expected {(heads, channels)} (h, k)")
