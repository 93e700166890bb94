"""Attention weights, laid out to be looked at: what the fused forms never hold in memory."""

import torch
from torch import Tensor

from mixers.ops.attention import visible
from mixers.ops.correlation import pair_scores


def pair_weights(
    query: Tensor, key: Tensor, *, lags: int, pool: str, scale: float, window: int | None = None
) -> Tensor:
    """The attention weights of the last t of s tokens, of every (token, lag) pair that they see.

    The weights of a token's pairs add up to the attention weight of the token, whatever the pool:

    * ``"logsumexp"`` is a softmax over all pairs, and these are its values.
    * ``"max"``: the lag that wins has all of its token's weight.
    * ``"sum"``: the lags divide their token's weight in proportion to the size ``|w_l r_l|`` of their terms. Where all
      terms are zero it goes to the first.

    Args:
        query: ``(b, h, t, l * k)``, or ``(b, h, t, k)`` where all lags have one query.
        key: ``(b, g, s, l * k)``, where g divides h; for the sum each lag's key is multiplied by its weight.
        lags: how many lags l a token has; with one lag these are the weights of dot-product attention.
        pool: ``"sum"``, ``"logsumexp"`` or ``"max"``.
        scale: the factor on the scores.
        window: how many tokens a query sees, its own included; None for all.

    Returns:
        ``(b, h, t, s, l)``.
    """
    scores = (pair_scores(query, key, lags) * scale).flatten(1, 2)
    hidden = ~visible(query.shape[2], key.shape[2], window, query.device)
    if pool == "logsumexp":
        masked = scores.masked_fill(hidden[..., None], -torch.inf)
        return masked.flatten(3).softmax(-1).view_as(scores)
    pooled = scores.sum(-1) if pool == "sum" else scores.amax(-1)
    weights = pooled.masked_fill(hidden, -torch.inf).softmax(-1)
    return weights[..., None] * (_parts(scores) if pool == "sum" else _winner(scores))


def pair_weights_reference(
    query: Tensor, key: Tensor, *, lags: int, pool: str, scale: float, window: int | None = None
) -> Tensor:
    """`pair_weights` one query, one token and one lag at a time."""
    (b, h, t), (groups, s) = query.shape[:3], key.shape[1:3]
    weights = query.new_zeros(b, h, t, s, lags)
    size = key.shape[-1] // lags
    for row, head, place in ((r, i, p) for r in range(b) for i in range(h) for p in range(t)):
        position = s - t + place
        first = 0 if window is None else max(0, position - window + 1)
        queries = query[row, head, place].split(size)
        terms = {}
        for token in range(first, position + 1):
            keys = key[row, head // (h // groups), token].split(size)
            terms[token] = [float(queries[min(i, len(queries) - 1)] @ keys[i]) * scale for i in range(lags)]
        whole = sum(_weight(of, pool) for of in terms.values())
        for token, of in terms.items():
            for lag in range(lags):
                weights[row, head, place, token, lag] = _weight(of, pool) / whole * _fraction(of, lag, pool)
    return weights


def spread_of(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over all positions and the standard deviation there: ``(b, t, ...)`` to ``(...)`` twice."""
    every = values.flatten(0, 1)
    return every.mean(dim=0), every.std(dim=0, correction=0)


def gates_by_expert(expert: Tensor, gate: Tensor, experts: int) -> Tensor:
    """The gate of every expert for each token, zero where it was not chosen.

    Args:
        expert: the experts of each token, ``(b, t, r)``.
        gate: their gates, ``(b, t, r)``.
        experts: how many there are.

    Returns:
        ``(b, t, e)``.
    """
    return gate.new_zeros(*gate.shape[:2], experts).scatter_(-1, expert, gate)


def normalize_parts(parts: Tensor, gain: Tensor | None) -> Tensor:
    """What each part is of the sum, once the sum is normalised as `mixers.ops.attention.normalize` does it.

    Args:
        parts: ``(b, h, l, t, k)``, whose sum over l is normalised.
        gain: one factor a channel, ``(k,)``; None leaves the parts as they are.
    """
    if gain is None:
        return parts
    whole = parts.sum(dim=2, keepdim=True)
    return parts * (whole.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt() * gain.to(parts.dtype)


def _parts(terms: Tensor) -> Tensor:
    """Each term's part of the sizes of all, ``(..., l)``; of the first all where every one is zero."""
    size = terms.abs()
    whole = size.sum(-1, keepdim=True)
    alone = torch.zeros_like(size)
    alone[..., 0] = 1
    return torch.where(whole > 0, size / whole, alone)


def _winner(scores: Tensor) -> Tensor:
    """One at the largest of the scores, ``(..., l)``, the first of equals, and zero elsewhere."""
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1)


def _weight(terms: list[float], pool: str) -> float:
    weights = torch.tensor(terms, dtype=torch.float64)
    score = {"sum": weights.sum(), "logsumexp": weights.logsumexp(0), "max": weights.max()}[pool]
    return float(score.exp())


def _fraction(terms: list[float], lag: int, pool: str) -> float:
    if pool == "max":
        return float(terms.index(max(terms)) == lag)
    if pool == "logsumexp":
        return float(torch.tensor(terms, dtype=torch.float64).softmax(0)[lag])
    sizes = [abs(term) for term in terms]
    return sizes[lag] / sum(sizes) if any(sizes) else float(lag == 0)
