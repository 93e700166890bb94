"""Attention by correlation: a token is compared with another at several lags, and the lags are pooled to one score.

With L lags a query meets L keys of each token s, one a lag l: its (token, lag) pairs, which share the token's value.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention import attend, visible
from mixers.ops.lags import delay, mix_lags


def lags_of(max_lag: int, axis: str) -> list[int]:
    """The lags in the order of their weights: tokens go back in time, channels shift in both directions.

    Args:
        max_lag: the largest lag.
        axis: ``"time"`` or ``"feature"``.
    """
    forth = list(range(max_lag + 1))
    return forth if axis == "time" else forth + [-lag for lag in forth[1:]]


def shift_channels(x: Tensor, lag: int) -> Tensor:
    """Put into channel i what was in channel i - lag, with zeros where there was none: ``(..., k)`` to the same."""
    return F.pad(x, (lag, -lag))


def stack_lags(x: Tensor, max_lag: int, axis: str, past: Tensor | None = None) -> Tensor:
    """Lay out every lag of a sequence.

    Args:
        x: queries or keys, ``(b, h, t, k)``.
        max_lag: the largest lag.
        axis: what the lags shift, tokens (``"time"``) or channels (``"feature"``).
        past: the tokens just before `x`, ``(b, h, p, k)``; beyond its start everything is zero.

    Returns:
        ``(b, h, l, t, k)``, in the order of `lags_of`.
    """
    lags = lags_of(max_lag, axis)
    if len(lags) == 1:
        return x[:, :, None]
    if axis == "feature":
        return torch.stack([shift_channels(x, lag) for lag in lags], dim=2)
    return torch.stack([delay(x, lag, past) for lag in lags], dim=2)


def add_lags(x: Tensor, weights: Tensor, axis: str, past: Tensor | None = None) -> Tensor:
    """Add up the lags of a sequence, each by its weight, without laying them out along time.

    Args:
        x: keys, ``(b, h, t, k)``.
        weights: one a lag, in the order of `lags_of`: ``(h, l)``, or ``(b, h, t, l)`` to weigh each token on its own.
        axis: what the lags shift, tokens (``"time"``) or channels (``"feature"``).
        past: the tokens just before `x`, ``(b, h, p, k)``; beyond its start everything is zero.

    Returns:
        ``(b, h, t, k)``.
    """
    if axis == "time":
        return mix_lags(x, weights, past)
    by_lag = _by_lag(weights.to(x.dtype)).unbind(2)
    mixed = x * by_lag[0]
    for lag, weight in zip(lags_of(len(by_lag) // 2, axis)[1:], by_lag[1:], strict=True):
        mixed = torch.addcmul(mixed, shift_channels(x, lag), weight)
    return mixed


def weigh_lags(lagged: Tensor, weights: Tensor) -> Tensor:
    """Multiply the key of each (token, lag) pair by the weight of its lag: the scores become ``w_l * r_l``.

    Args:
        lagged: ``(b, h, l, t, k)``.
        weights: ``(h, l)``, or ``(b, h, t, l)``.
    """
    return lagged * _by_lag(weights.to(lagged.dtype))


def bias_lags(lagged: Tensor, biases: Tensor, *, scale: float, before: int | None) -> Tensor:
    """Give the key of each (token, lag) pair one channel more, which adds a bias to all its scores.

    A fused kernel takes no bias a pair; a channel in which every query holds 1 (`one_more`) is one.

    Args:
        lagged: ``(b, h, l, t, k)``.
        biases: ``(h, l)``, or ``(b, h, t, l)``.
        scale: the factor that the scores will be multiplied by.
        before: how many tokens lie before these; where a lag reaches beyond them the pair is hidden, by a bias that
            no score outweighs. None where lags shift channels, which hides nothing.

    Returns:
        ``(b, h, l, t, k + 1)``.
    """
    b, h, lags, t, _ = lagged.shape
    channel = (_by_lag(biases.to(lagged.dtype)) / scale).expand(b, h, lags, t, 1)
    if before is not None:
        lag = torch.arange(lags, device=lagged.device)[:, None]
        missing = torch.arange(before, before + t, device=lagged.device) < lag
        # not -inf: the gradient of the query would be 0 * inf
        channel = channel.masked_fill(missing[..., None], torch.finfo(lagged.dtype).min / 4)
    return torch.cat([lagged, channel], dim=-1)


def one_more(query: Tensor) -> Tensor:
    """Give queries the channel that meets the bias of a pair: ``(..., k)`` to ``(..., k + 1)``."""
    return F.pad(query, (0, 1), value=1.0)


def correlate(
    query: Tensor, key: Tensor, value: Tensor, *, lags: int, pool: str, scale: float, window: int | None = None
) -> Tensor:
    """Causal attention of the last t of s tokens, by scores that pool the lags of each pair of tokens.

        y_t = sum_s softmax_s( pool_l r_l(t, s) ) v_s     r_l(t, s) = scale * <q_{t,l}, k_{s,l}>

    What each pool holds in memory, beside its arguments:

    * ``"sum"`` is one attention over the lags side by side as channels, ``t * l * k`` numbers a head.
    * ``"logsumexp"`` with one query for all lags is one attention over all pairs, whose values are repeated: again
      ``t * l * k`` numbers, and a boolean mask of ``128 * s * l`` that all heads share.
    * ``"max"``, and ``"logsumexp"`` with a query a lag, hold the scores themselves: ``t * s * l`` numbers a head.

    Args:
        query: ``(b, h, t, l * k)``, or ``(b, h, t, k)`` where all lags have one query.
        key: ``(b, g, s, l * k)``, where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        lags: how many lags l a token has.
        pool: ``"sum"``, ``"logsumexp"`` or ``"max"``.
        scale: the factor on the scores.
        window: how many tokens a query sees, its own included; None for all.

    Returns:
        ``(b, h, t, v)``.
    """
    if pool == "sum":
        return attend(query, key, value, scale=scale, window=window)
    one_query = query.shape[-1] * lags == key.shape[-1]
    # a single new token is cheaper by its few scores than by the values of all tokens repeated
    if pool == "logsumexp" and one_query and query.shape[2] > 1:
        lagged, values = key.unflatten(-1, (lags, -1)).flatten(2, 3), value.repeat_interleave(lags, dim=2)
        return attend(query, lagged, values, scale=scale, window=window, lags=lags)
    return _attend_by_scores(query, key, value, lags=lags, pool=pool, scale=scale, window=window)


def pair_scores(query: Tensor, key: Tensor, lags: int) -> Tensor:
    """Every query with every (token, lag) pair, neither scaled nor masked.

    Args:
        query: ``(b, h, t, l * k)``, or ``(b, h, t, k)`` where all lags have one query.
        key: ``(b, g, s, l * k)``, where g divides h.
        lags: how many lags l a token has.

    Returns:
        ``(b, g, h / g, t, s, l)``.
    """
    lagged = key.unflatten(-1, (lags, -1))
    queries = query.unflatten(1, (key.shape[1], -1)).unflatten(-1, (-1, lagged.shape[-1]))
    if queries.shape[-2] < lags:
        together = queries.flatten(2, 4) @ lagged.flatten(2, 3).mT
        return together.unflatten(-1, lagged.shape[2:4]).unflatten(2, queries.shape[2:4])
    return torch.einsum("bgrtlk,bgslk->bgrtsl", queries, lagged)


def _attend_by_scores(
    query: Tensor, key: Tensor, value: Tensor, *, lags: int, pool: str, scale: float, window: int | None
) -> Tensor:
    """`correlate` with the scores of all pairs in memory."""
    scores = pair_scores(query, key, lags) * scale
    pooled = scores.logsumexp(-1) if pool == "logsumexp" else scores.amax(-1)
    seen = visible(query.shape[2], key.shape[2], window, query.device)
    weights = pooled.masked_fill(~seen, -torch.inf).softmax(-1)
    return (weights.flatten(2, 3) @ value).unflatten(2, weights.shape[2:4]).flatten(1, 2)


def _by_lag(weights: Tensor) -> Tensor:
    """Weights ``(h, l)`` or ``(b, h, t, l)`` as ``(1 or b, h, l, 1 or t, 1)``."""
    by_token = weights if weights.ndim == 4 else weights[None, :, None]
    return by_token.transpose(2, 3)[..., None]
