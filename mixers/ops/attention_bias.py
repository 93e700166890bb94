"""Causal softmax attention with more to its scores than a dot product: decays, biases, masks, sinks and soft caps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention import fused_attention, visible
from mixers.ops.attention_chunks import exact, query_chunks, share_heads, softmax_weights


def attend_biased(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    log_decay: Tensor | None = None,
    bias: Tensor | None = None,
    keep: Tensor | None = None,
    window: int | None = None,
    sink: Tensor | None = None,
    soft_cap: float | None = None,
) -> Tensor:
    """Causal softmax attention of the last t of s tokens, head first as in `mixers.ops.attention.attend`.

        y_t = sum_s exp(a_ts) v_s / (sum_s exp(a_ts) + exp(sink))     over  t - window < s <= t,  keep_ts
        a_ts = cap(scale * <q_t, k_s>) + sum_{s < r <= t} g_r + bias_ts       cap(a) = soft_cap * tanh(a / soft_cap)

    It goes by chunks of queries. Decays and sinks ride along in channels of their own through the fused kernel, which
    never holds the scores. A bias or a soft cap needs them: a chunk's at a time, and all of them while training.

    Args:
        query: ``(b, h, t, k)``, those of the last t tokens.
        key: ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        scale: the factor on the dot products, and on nothing else.
        log_decay: g of all s tokens, 0 or less, ``(b, h, s)``; that of the first one is never used.
        bias: added to the scores, broadcast to ``(b, h, t, s)``.
        keep: boolean, broadcast to ``(b, h, t, s)``; each query keeps a token at least, or there is a sink.
        window: how many tokens a query sees, its own included; None for all.
        sink: a logit a query head that takes attention and gives nothing, ``(h,)``.
        soft_cap: the dot products are squashed to lie within plus and minus so much; None leaves them.

    Returns:
        ``(b, h, t, v)``, in the dtype of `value`.

    Source: forgetting gates arXiv:2503.02130; sinks as in gpt-oss (arXiv:2508.10925), soft caps as in Gemma 2
    (arXiv:2408.00118).
    """
    t, s = query.shape[2], key.shape[2]
    mixed = []
    for here, there in query_chunks(t, s, window):
        seen = visible(here.stop - here.start, there.stop - there.start, window, query.device)
        if keep is not None:
            seen = seen & _part(keep, here, there)
        parts = query[:, :, here], key[:, :, there], value[:, :, there]
        decays = None if log_decay is None else _decays(log_decay[..., there], here.stop - here.start)
        if bias is None and soft_cap is None:
            mixed.append(_fused_chunk(*parts, seen, scale, decays=decays, sink=sink))
        else:
            added = None if bias is None else _part(bias, here, there)
            mixed.append(_scored_chunk(*parts, seen, scale, decays=decays, sink=sink, bias=added, soft_cap=soft_cap))
    return torch.cat(mixed, dim=2)


def attend_biased_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    log_decay: Tensor | None = None,
    bias: Tensor | None = None,
    keep: Tensor | None = None,
    window: int | None = None,
    sink: Tensor | None = None,
    soft_cap: float | None = None,
) -> Tensor:
    """`attend_biased` one query and one key at a time."""
    (b, h, t, _), s = query.shape, key.shape[2]
    key, value = share_heads(key, h), share_heads(value, h)
    keep = query.new_ones(b, h, t, s, dtype=torch.bool) if keep is None else keep.expand(b, h, t, s)
    bias = query.new_zeros(b, h, t, s) if bias is None else bias.expand(b, h, t, s)
    decay = query.new_zeros(b, h, s) if log_decay is None else log_decay
    mixed = []
    for place, position in enumerate(range(s - t, s)):
        logits = []
        for source in range(s):
            logit = (query[:, :, place] * key[:, :, source]).sum(-1) * scale
            logit = logit if soft_cap is None else soft_cap * (logit / soft_cap).tanh()
            logit = logit + decay[:, :, source + 1 : position + 1].sum(-1) + bias[:, :, place, source]
            far = source > position or (window is not None and source <= position - window)
            logits.append(torch.where(keep[:, :, place, source] & (not far), logit, -torch.inf))
        if sink is not None:
            logits.append(sink.expand(b, h))
        weights = torch.stack(logits, dim=-1).softmax(-1)[..., :s]
        mixed.append((weights[..., None] * value).sum(2))
    return torch.stack(mixed, dim=2)


def decay_biases(log_decay: Tensor, t: int) -> Tensor:
    """The sums of the log decays between the last t of s tokens and all of them, ``(b, h, s)`` to ``(b, h, t, s)``.

    Where s lies after t the sum is the other way round, and positive.
    """
    of_query, of_key = _decays(log_decay, t)
    return of_query[..., None] + of_key[..., None, :]


def _part(mask: Tensor, queries: slice, keys: slice) -> Tensor:
    """The rows and columns of a chunk; an axis of one is left for broadcasting."""
    rows = mask if mask.shape[-2] == 1 else mask[..., queries, :]
    return rows if mask.shape[-1] == 1 else rows[..., keys]


def _decays(log_decay: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """Two terms that add up to the log decay from key to query, ``(b, h, t)`` and ``(b, h, s)``.

    Both are counted from the first query of the chunk. Counted from the start of the text they would be large numbers
    with a small difference, and float32 would lose it.
    """
    (log_decay,) = exact(log_decay)
    first = log_decay.shape[-1] - t
    within = F.pad(log_decay[..., first + 1 :].cumsum(-1), (1, 0))
    before = log_decay[..., 1 : first + 1].flip(-1).cumsum(-1).flip(-1)
    return within, torch.cat([before, -within], dim=-1)


def _fused_chunk(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    scale: float,
    *,
    decays: tuple[Tensor, Tensor] | None,
    sink: Tensor | None,
) -> Tensor:
    """One call of the fused kernel: what is added to a score is a product of a channel of the query and one of the key.

    A term of the query alone changes no softmax, so that of the decays is left out, and the sink gets its negative.
    """
    dtype = value.dtype
    if decays is None and sink is None:
        return fused_attention(query, key, value, scale, mask=seen)
    # In half precision the channels of the biases would be rounded as no score may be.
    query, key, value = exact(query * scale, key, value)
    if decays is not None:
        key, value = share_heads(key, query.shape[1]), share_heads(value, query.shape[1])
        query = F.pad(query, (0, 1), value=1.0)
        key = torch.cat([key, decays[1][..., None].to(key.dtype)], dim=-1)
    if sink is not None:
        logit = sink.to(query.dtype)[:, None] - (0 if decays is None else decays[0].to(query.dtype))
        query = torch.cat([query, logit.expand(query.shape[:3])[..., None]], dim=-1)
        of_sink = F.pad(key.new_zeros(*key.shape[:2], 1, key.shape[-1]), (0, 1), value=1.0)
        key = torch.cat([F.pad(key, (0, 1)), of_sink], dim=2)
        value, seen = F.pad(value, (0, 0, 0, 1)), F.pad(seen, (0, 1), value=True)
    with torch.autocast(query.device.type, enabled=False):
        return fused_attention(query, key, value, 1.0, mask=seen).to(dtype)


def _scored_chunk(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    scale: float,
    *,
    decays: tuple[Tensor, Tensor] | None,
    sink: Tensor | None,
    bias: Tensor | None,
    soft_cap: float | None,
) -> Tensor:
    """The same with the scores of the chunk in memory."""
    with torch.autocast(query.device.type, enabled=False):
        queries, keys, values = exact(query, share_heads(key, query.shape[1]), share_heads(value, query.shape[1]))
        scores = queries @ keys.mT * scale
        if soft_cap is not None:
            scores = soft_cap * (scores / soft_cap).tanh()
        if decays is not None:
            scores = scores + (decays[0][..., None] + decays[1][..., None, :]).to(scores.dtype)
        if bias is not None:
            scores = scores + bias.to(scores.dtype)
        return (softmax_weights(scores, seen, sink) @ values).to(value.dtype)


def causal_weights(
    query: Tensor,
    key: Tensor,
    *,
    scale: float,
    bias: Tensor | None = None,
    window: int | None = None,
    sink: Tensor | None = None,
    soft_cap: float | None = None,
) -> Tensor:
    """The weights that `attend_biased` gives its values, to be looked at, ``(b, h, t, s)``."""
    scores = query @ share_heads(key, query.shape[1]).mT * scale
    scores = scores if soft_cap is None else soft_cap * (scores / soft_cap).tanh()
    seen = visible(query.shape[2], key.shape[2], window, query.device)
    return softmax_weights(scores if bias is None else scores + bias, seen, sink)
