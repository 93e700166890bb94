"""Several delta rules a token, so that a token can apply a product of reflections to the state."""

import torch
from einops import rearrange
from torch import Tensor

from mixers.ops.erase import erase


def delta_product(  # noqa: PLR0917 - the order of `erase`
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    log_decay: Tensor | None = None,
    state: Tensor | None = None,
    *,
    floor: float | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Let the state decay once a token, then replace the values of r keys, one after the other, and read.

        S = Diag(e^w[t]) S[t-1],  then for j = 1 .. r   S <- S + beta[t, j] key[t, j] (value[t, j] - S^T key[t, j])^T
        S[t] = S,  out[t] = S[t]^T query[t]

    With keys of length 1 and beta from 0 to 2 a token applies a product of r generalised Householder matrices: with
    beta = 2 of r reflections. It is `erase` on r * t tokens, which decay at the first of each r and read at the last.

    Args:
        query: ``(b, t, h, k)``.
        key: of r steps a token, ``(b, t, r, h, k)``; with r = 1 this is the gated delta rule.
        value: ``(b, t, r, h, v)``.
        beta: ``(b, t, r, h)``.
        log_decay: w <= 0, ``(b, t, h)`` or ``(b, t, h, k)``; None is no decay.
        state: what an earlier piece returned, ``(b, h, k, v)``; None is zero.
        floor: a promise that no log decay of a channel is below it, as in `erase`.
        documents: which document each token belongs to, ``(b, t)``, int64, as in `erase`.

    Returns:
        ``(b, t, h, v)`` in the dtype of `value`, and the state after the last token.

    Raises:
        ValueError: a shape does not fit.

    Source: Siems et al. 2025, arXiv:2502.10297.
    """
    _check(query, key, beta)
    steps = key.shape[2]
    a = -key
    if log_decay is not None:
        decay = log_decay.exp() if log_decay.ndim == query.ndim else log_decay.exp()[..., None]
        # The first step erases from the decayed state, and decay comes after what `a` reads.
        a = torch.cat([a[:, :, :1] * decay[:, :, None], a[:, :, 1:]], dim=2)
        log_decay = _at(log_decay, 0, steps)
    b = beta[..., None] * key
    a, b, value = (rearrange(x, "b t r h k -> b (t r) h k") for x in (a, b, value))
    documents = None if documents is None else documents.repeat_interleave(steps, dim=1)
    query = _at(query, steps - 1, steps)
    out, state = erase(query, a, b, value, log_decay, state, floor=floor, documents=documents)
    # A copy, since a view would keep what the other steps read.
    return out[:, steps - 1 :: steps].contiguous(), state


def _at(x: Tensor, step: int, steps: int) -> Tensor:
    """What a token has at one of its steps, and zeros at the others: ``(b, t, ...)`` to ``(b, t * r, ...)``."""
    zero = torch.zeros_like(x)
    return torch.stack([x if index == step else zero for index in range(steps)], dim=2).flatten(1, 2)


def _check(query: Tensor, key: Tensor, beta: Tensor) -> None:
    batch, time, heads, channels = query.shape
    if key.ndim != 5 or (*key.shape[:2], *key.shape[3:]) != (batch, time, heads, channels):
        expected = (batch, time, "r", heads, channels)
        raise ValueError(f"key has the shape {tuple(key.shape)}: expected {expected} (b, t, r, h, k)")
    if beta.shape != key.shape[:4]:
        raise ValueError(f"beta has the shape {tuple(beta.shape)}: expected {tuple(key.shape[:4])} (b, t, r, h)")
