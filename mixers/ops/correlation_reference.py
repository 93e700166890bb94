"""Correlation in its slow, obviously right form: one pair of tokens and one lag at a time."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from mixers.ops.correlation import lags_of

Place = Callable[[Tensor, int], Tensor]
"""Normalises and rotates one token's queries or keys, ``(b, h, k)``, for a position."""


def correlation_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    *,
    max_lag: int,
    axis: str,
    compare: str,
    pool: str,
    scale: float,
    place_query: Place,
    place_key: Place,
    window: int | None = None,
) -> Tensor:
    """Causal attention by pooled correlations.

    Args:
        query: ``(b, h, t, k)``, neither normalised nor rotated.
        key: ``(b, h, t, k)``, likewise.
        value: ``(b, h, t, v)``.
        weights: weights or biases of the lags by the position of the key, ``(b, h, t, l)``.
        max_lag: the largest lag.
        axis: what the lags shift, ``"time"`` or ``"feature"``.
        compare: what is delayed, ``"key"`` or ``"joint"``.
        pool: ``"sum"``, ``"logsumexp"`` or ``"max"``.
        scale: the factor on the scores.
        place_query: what is done to a query after its lag.
        place_key: what is done to a key after its lag.
        window: how many tokens a query sees, its own included; None for all.

    Returns:
        ``(b, h, t, v)``.
    """
    lags = lags_of(max_lag, axis)

    def lagged(x: Tensor, position: int, lag: int) -> Tensor:
        if axis == "feature":
            return _shifted(x[:, :, position], lag)
        return x[:, :, position - lag] if position >= lag else torch.zeros_like(x[:, :, 0])

    @cache
    def query_at(t: int, lag: int) -> Tensor:
        return scale * place_query(lagged(query, t, lag), t)

    @cache
    def key_at(s: int, lag: int) -> Tensor:
        return place_key(lagged(key, s, lag), s)

    @cache
    def added_keys(s: int) -> Tensor:
        return place_key(torch.stack([weight(s, lag)[..., None] * lagged(key, s, lag) for lag in lags]).sum(0), s)

    def weight(s: int, lag: int) -> Tensor:
        return weights[:, :, s, lags.index(lag)]

    def correlation(t: int, s: int, lag: int) -> Tensor:
        return (query_at(t, lag if compare == "joint" else 0) * key_at(s, lag)).sum(-1)

    def score(t: int, s: int) -> Tensor:
        if pool == "sum" and compare == "key":
            return (query_at(t, 0) * added_keys(s)).sum(-1)
        if pool == "sum":
            return torch.stack([weight(s, lag) * correlation(t, s, lag) for lag in lags]).sum(0)
        present = [lag for lag in lags if axis == "feature" or lag <= s]
        scores = torch.stack([correlation(t, s, lag) + weight(s, lag) for lag in present])
        return scores.logsumexp(0) if pool == "logsumexp" else scores.amax(0)

    mixed = []
    for t in range(query.shape[2]):
        seen = [s for s in range(t + 1) if window is None or t - s < window]
        attention = torch.stack([score(t, s) for s in seen]).softmax(0)
        mixed.append(torch.stack([a[..., None] * value[:, :, s] for a, s in zip(attention, seen, strict=True)]).sum(0))
    return torch.stack(mixed, dim=2)


def _shifted(x: Tensor, lag: int) -> Tensor:
    width = x.shape[-1]
    zero = torch.zeros_like(x[..., 0])
    return torch.stack([x[..., i - lag] if 0 <= i - lag < width else zero for i in range(width)], dim=-1)
