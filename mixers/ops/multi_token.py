"""Multi-token attention: scores convolved over queries and keys before the softmax, weights mixed over heads after."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention import visible
from mixers.ops.attention_chunks import exact, query_chunks, share_heads, softmax_weights


def multi_token_attend(
    query: Tensor, key: Tensor, value: Tensor, taps: Tensor, head_mix: Tensor, *, scale: float, earlier: int = 0
) -> Tensor:
    """Causal softmax attention of the last tokens of s whose scores see their neighbours, head first.

        a_ts = sum_{i < I} sum_{j < J} taps_ij z_{t - (I-1) + i, s - (J-1)/2 + j}
        z_ts = scale * <q_t, k_s>  where  s <= t,  else 0
        y_t = sum_s sum_h' head_mix_hh' softmax_s(a_h')_ts v_s

    A score whose key lies after its query is zero inside the convolution, or the kernel would look ahead. The scores
    of a chunk of queries lie in memory at a time, and all of them while training.

    Args:
        query: ``(b, h, e + t, k)``, those of the last e + t tokens.
        key: ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        taps: ``(h, I, J)`` with J odd; the last row meets the query's own scores, the middle column the key's own.
        head_mix: ``(n, m, m)`` where n * m = h: consecutive heads are mixed in groups of m.
        scale: the factor on the scores.
        earlier: e, how many of the queries write nothing, and are there for the convolution; I - 1 or fewer, where
            the text does not go back further.

    Returns:
        ``(b, h, t, v)``, in the dtype of `value`.

    Source: Golovneva et al. 2025, arXiv:2504.00927.
    """
    t, s = query.shape[2] - earlier, key.shape[2]
    mixed = []
    with torch.autocast(query.device.type, enabled=False):
        queries, keys, values = exact(query, share_heads(key, query.shape[1]), share_heads(value, query.shape[1]))
        for here, there in query_chunks(t, s):
            first = max(earlier + here.start - taps.shape[1] + 1, 0)
            chunk = queries[:, :, first : earlier + here.stop]
            weights = multi_token_weights(
                chunk, keys[:, :, there], taps, head_mix, scale=scale, last=here.stop - here.start
            )
            mixed.append((weights @ values[:, :, there]).to(value.dtype))
    return torch.cat(mixed, dim=2)


def multi_token_weights(
    query: Tensor, key: Tensor, taps: Tensor, head_mix: Tensor, *, scale: float, last: int
) -> Tensor:
    """The weights of the last of some queries, ``(b, h, last, s)``; keys have a head for each query head."""
    rows, s = query.shape[2], key.shape[2]
    _, height, width = taps.shape
    seen = visible(rows, s, None, query.device)
    scores = (query @ key.mT * scale).masked_fill(~seen, 0)
    padded = F.pad(scores, (width // 2, width // 2, max(height - 1 - (rows - last), 0), 0))
    convolved = F.conv2d(padded, taps.to(scores.dtype)[:, None], groups=taps.shape[0])
    weights = softmax_weights(convolved, seen[rows - last :])
    groups = weights.unflatten(1, head_mix.shape[:2])
    return torch.einsum("nij,bnjts->bnits", head_mix.to(weights.dtype), groups).flatten(1, 2)


def multi_token_attend_reference(
    query: Tensor, key: Tensor, value: Tensor, taps: Tensor, head_mix: Tensor, *, scale: float, earlier: int = 0
) -> Tensor:
    """`multi_token_attend` one query, one key and one tap at a time."""
    (b, h, rows, _), s = query.shape, key.shape[2]
    key, value = share_heads(key, h), share_heads(value, h)
    (_, height, width), first = taps.shape, s - rows

    def score(t: int, place: int) -> Tensor:
        if t < first or not 0 <= place <= t:
            return query.new_zeros(b, h)
        return (query[:, :, t - first] * key[:, :, place]).sum(-1) * scale

    mixed = []
    for t in range(first + earlier, s):
        logits = []
        for place in range(t + 1):
            logit = query.new_zeros(b, h)
            for i, j in product(range(height), range(width)):
                logit = logit + taps[:, i, j] * score(t - height + 1 + i, place - width // 2 + j)
            logits.append(logit)
        weights = torch.stack(logits, dim=-1).softmax(-1).unflatten(1, head_mix.shape[:2])
        weights = (head_mix[..., None] * weights[:, :, None]).sum(3).flatten(1, 2)
        mixed.append((weights[..., None] * value[:, :, : t + 1]).sum(2))
    return torch.stack(mixed, dim=2)
