"""A diagonal preconditioner of delta rules: key channels that were written to much are written to less."""

import torch
from torch import Tensor

from mixers.ops.documents import check_documents, starts

EPSILON, OFFSET, BASE = 1e-6, 0.2, 1.5


def preconditioner(
    key: Tensor,
    log_decay: Tensor,
    weight: Tensor,
    state: Tensor | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Factors for the channels of each key, from a decaying sum of the squares of the keys.

        A[t] = e^w[t] A[t-1] + weight[t] key[t]^2        r[t] = log(A[t] + 1e-6) + 0.2
        out[t] = 1.5 ** (-r[t] / (1 + |r[t]|))

    The factors lie between 2/3 and 3/2. A delta rule that writes along ``out * key`` and erases with ``key`` is the
    preconditioned one.

    Args:
        key: ``(b, t, h, k)``.
        log_decay: w <= 0, ``(b, t, h)``.
        weight: 0 or more, ``(b, t, h)``.
        state: what an earlier piece returned, ``(b, h, k)``; None is zero.
        documents: which document each token belongs to, ``(b, t)``, int64: each has a sum of its own. `state` belongs
            to the first one of a row.

    Returns:
        The factors, ``(b, t, h, k)``, and the sums after the last token, ``(b, h, k)``, in float32 or wider.

    Raises:
        ValueError: `documents` is not ``(b, t)``.
    """
    dtype = torch.promote_types(key.dtype, torch.float32)
    summand = weight.to(dtype)[..., None] * key.to(dtype).square()
    decay = log_decay.to(dtype).exp()[..., None]
    if documents is not None:
        check_documents(documents, key)
        new = starts(documents) & (torch.arange(key.shape[1], device=key.device) > 0)
        decay = decay.masked_fill(new[..., None, None], 0)
    if state is not None:
        first = summand[:, :1] + decay[:, :1] * state.to(dtype)[:, None]
        summand = torch.cat([first, summand[:, 1:]], dim=1)
    sums = _decaying_sums(decay, summand)
    level = torch.log(sums + EPSILON) + OFFSET
    return (BASE ** (-level / (1 + level.abs()))).to(key.dtype), sums[:, -1].clone()


def _decaying_sums(decay: Tensor, summand: Tensor) -> Tensor:
    """The sums ``x[t] = decay[t] x[t-1] + summand[t]`` along the second axis, in log2(t) passes."""
    distance = 1
    while distance < summand.shape[1]:
        shifted = summand[:, distance:] + decay[:, distance:] * summand[:, :-distance]
        summand = torch.cat([summand[:, :distance], shifted], dim=1)
        decay = torch.cat([decay[:, :distance], decay[:, distance:] * decay[:, :-distance]], dim=1)
        distance *= 2
    return summand
