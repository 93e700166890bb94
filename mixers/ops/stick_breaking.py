"""Stick-breaking attention: the latest keys are asked first, and each takes its part of what is left."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention_chunks import exact, query_chunks, share_heads


def stick_breaking(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of the last t of s tokens to the tokens strictly before them, head first.

        y_t = sum_{s < t} A_ts v_s     A_ts = sigmoid(z_ts) prod_{s < r < t} (1 - sigmoid(z_tr))     z = scale * <q, k>
        rest_t = 1 - sum_s A_ts

    Products are sums of logarithms, so that nothing underflows. The scores of a chunk of queries lie in memory at a
    time, and all of them while training.

    Args:
        query: ``(b, h, t, k)``, those of the last t tokens.
        key: ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        scale: the factor on the scores.

    Returns:
        ``(b, h, t, v)``, in the dtype of `value`, and the rest, ``(b, h, t)``, in float32 at least.

    Source: Tan et al. 2024, arXiv:2410.17980.
    """
    mixed, rests = [], []
    with torch.autocast(query.device.type, enabled=False):
        queries, keys, values = exact(query, share_heads(key, query.shape[1]), share_heads(value, query.shape[1]))
        for here, there in query_chunks(query.shape[2], key.shape[2]):
            weights, rest = stick_weights(queries[:, :, here], keys[:, :, there], scale=scale)
            mixed.append((weights @ values[:, :, there]).to(value.dtype))
            rests.append(rest)
    return torch.cat(mixed, dim=2), torch.cat(rests, dim=2)


def stick_weights(query: Tensor, key: Tensor, *, scale: float) -> tuple[Tensor, Tensor]:
    """The attention weights of the last t of s tokens, ``(b, h, t, s)``, and the rest, ``(b, h, t)``."""
    t, s = query.shape[2], key.shape[2]
    place = torch.arange(s, device=query.device)
    hidden = place >= place[s - t :, None]
    logits = query @ key.mT * scale
    passed = F.logsigmoid(-logits).masked_fill(hidden, 0)
    # Summed over the keys after each: shifted by one and not subtracted, which would cancel.
    after = F.pad(passed[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)
    weights = (F.logsigmoid(logits) + after).masked_fill(hidden, -torch.inf).exp()
    return weights, passed.sum(-1).exp()


def stick_breaking_reference(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> tuple[Tensor, Tensor]:
    """`stick_breaking` one query and one key at a time."""
    (b, h, t, _), s = query.shape, key.shape[2]
    key, value = share_heads(key, h), share_heads(value, h)
    mixed, rests = [], []
    for place, position in enumerate(range(s - t, s)):
        left, total = query.new_ones(b, h), value.new_zeros(b, h, value.shape[-1])
        for source in reversed(range(position)):
            part = ((query[:, :, place] * key[:, :, source]).sum(-1) * scale).sigmoid()
            total = total + (left * part)[..., None] * value[:, :, source]
            left = left * (1 - part)
        mixed.append(total)
        rests.append(left)
    return torch.stack(mixed, dim=2), torch.stack(rests, dim=2)
