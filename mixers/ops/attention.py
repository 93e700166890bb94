"""Causal softmax attention of multi-head, grouped and windowed kind, and the ways into heads and out of them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.attention_products import attend_by_products

CHUNK = 128
"""How many queries share one mask. Smaller chunks skip more of the masked keys, larger ones run fewer kernels."""

WIDENED = 512
"""Up to so many keys a CPU attends in float32 where it is given bfloat16: its bfloat16 kernel takes up to three times
as long for short sequences, and gains only beyond."""

FEW_KEYS = 2**21
"""Up to so many numbers in the keys a single query in bfloat16 attends in float32 on a CPU."""

LONG = 2**18
"""From so many numbers in the keys on, a single query on a CPU attends by products."""

BFLOAT16_UNITS = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
"""Whether this machine's CPU multiplies matrices of bfloat16 faster than those of float32."""


def head_size(dim: int, heads: int, kv_heads: int, rope: bool) -> int:
    """The channels of one head, once the numbers are known to fit each other.

    Args:
        dim: model width.
        heads: heads of the queries.
        kv_heads: heads of the keys and values.
        rope: whether the channels are to be rotated in pairs.

    Raises:
        ValueError: where they do not fit.
    """
    if heads < 1 or dim % heads:
        raise ValueError(f"heads={heads} does not divide dim={dim}; choose heads among the divisors of dim")
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(
            f"kv_heads={kv_heads} does not divide heads={heads}; choose kv_heads among the divisors of heads"
        )
    size = dim // heads
    if rope and size % 2:
        raise ValueError(
            f"rope turns channels in pairs, and dim={dim} with heads={heads} makes heads of size {size}; "
            "choose heads so that dim / heads is even, or rope=false"
        )
    return size


def check_scores(soft_cap: float | None, rope_fraction: float, rope_base: float) -> None:
    """Refuse a soft cap and rotations that make no scores.

    Args:
        soft_cap: the scores lie within plus and minus so much; None leaves them.
        rope_fraction: how much of a head's channels is rotated.
        rope_base: the ratio of the slowest rotation's period to the fastest.

    Raises:
        ValueError: where one is out of its range.
    """
    if soft_cap is not None and soft_cap <= 0:
        raise ValueError(f"soft_cap must be more than 0, not {soft_cap}; None leaves the scores as they are")
    if not 0 < rope_fraction <= 1:
        raise ValueError(f"rope_fraction must be more than 0 and up to 1, not {rope_fraction}; rope=false rotates none")
    if rope_base < 1:
        raise ValueError(f"rope_base must be 1 or more, not {rope_base}")


def split_heads(projected: Tensor, heads: int, kv_heads: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut one fused projection into queries, keys, values and whatever follows them.

    Args:
        projected: the projection of the reads, ``(b, t, (heads + 2 * kv_heads) * size + rest)``.
        heads: heads of the queries.
        kv_heads: heads of the keys and values.
        size: channels of one head.

    Returns:
        Queries ``(b, h, t, k)``, keys and values ``(b, kv_heads, t, k)``, and the rest ``(b, t, rest)``.
    """
    widths = [heads * size, kv_heads * size, kv_heads * size]
    if projected.shape[-1] == sum(widths) and not torch.is_grad_enabled():  # fewer views, which a short step feels
        by_head = projected.unflatten(-1, (-1, size)).transpose(1, 2)
        query, key, value = by_head.split_with_sizes([heads, kv_heads, kv_heads], 1)
        return query, key, value, projected[..., :0]
    query, key, value, rest = projected.split([*widths, projected.shape[-1] - sum(widths)], dim=-1)
    query, key, value = (part.unflatten(-1, (-1, size)).transpose(1, 2) for part in (query, key, value))
    return query, key, value, rest


def merge_heads(mixed: Tensor) -> Tensor:
    """Lay the heads side by side again: ``(b, h, t, v)`` to ``(b, t, h * v)``."""
    return mixed.transpose(1, 2).flatten(2)


def normalize(x: Tensor, gain: Tensor | None) -> Tensor:
    """Scale each head of each token to a mean square of one, then its channels by `gain`; None leaves `x` as it is.

    Source: query-key normalisation, Henry et al. 2020, arXiv:2010.04245, with the RMS norm of arXiv:1910.07467.

    Args:
        x: queries or keys, ``(b, h, t, k)``.
        gain: one factor a channel, ``(k,)``.
    """
    if gain is None:
        return x
    return F.rms_norm(x, gain.shape, eps=1e-6) * gain.to(x.dtype)


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None = None, lags: int = 1
) -> Tensor:
    """Causal softmax attention of the last t of s tokens.

        y_t = sum_s softmax_s(scale * <q_t, k_s>) v_s     over  t - window < s <= t

    On a CPU that has units for bfloat16 it goes by products of matrices, see `attend_by_products`. Otherwise whole
    sequences without a window are one fused call, and everything else goes by chunks of queries, each with a mask of
    its own over the keys that it can see: the mask never grows beyond ``CHUNK * s``, and a window costs
    ``t * (CHUNK + window)``.

    Args:
        query: ``(b, h, t, k)``, those of the last t tokens.
        key: ``(b, g, s * lags, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s * lags, v)``.
        scale: the factor on the scores.
        window: how many tokens a query sees, its own included; None for all.
        lags: how many keys each token has, side by side.

    Returns:
        ``(b, h, t, v)``.
    """
    narrow = query.dtype == key.dtype == value.dtype == torch.bfloat16
    t, s = query.shape[2], key.shape[2] // lags
    sees_all = window is None or window >= s
    if narrow and query.device.type == "cpu" and BFLOAT16_UNITS:
        if sees_all and t == 1 and key.numel() <= FEW_KEYS:
            return fused_attention(query.float(), key.float(), value.float(), scale).to(query.dtype)
        return attend_by_products(query, key, value, scale=scale, window=window, lags=lags)
    if sees_all and t == 1:
        form = attend_token if _is_long(key) else fused_attention
        return form(query, key, value, scale)
    if sees_all and lags == 1 and t == s:
        return fused_attention(query, key, value, scale, causal=True)
    mixed = []
    for start in range(0, t, CHUNK):
        stop = min(start + CHUNK, t)
        first = 0 if window is None else max(s - t + start - window + 1, 0)
        last = s - t + stop
        seen = slice(first * lags, last * lags)
        mask = None
        if stop - start > 1:
            mask = visible(stop - start, last - first, window, query.device).repeat_interleave(lags, dim=1)
        mixed.append(fused_attention(query[:, :, start:stop], key[:, :, seen], value[:, :, seen], scale, mask=mask))
    return torch.cat(mixed, dim=2)


def attend_token(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """`attend` of a single query by two products, which read long caches faster than the fused kernel of a CPU.

    Args:
        query: ``(b, h, 1, k)``.
        key: ``(b, g, s, k)`` where g divides h.
        value: ``(b, g, s, v)``.
        scale: the factor on the scores.

    Returns:
        ``(b, h, 1, v)``.
    """
    (b, h, _, _), g = query.shape, key.shape[1]
    rows = (query * scale).reshape(b * g, h // g, query.shape[-1])
    # keys first: of the two orders this one is read at the speed of memory
    scores = torch.bmm(key.flatten(0, 1), rows.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(scores.softmax(-1), value.flatten(0, 1)).view(b, h, 1, value.shape[-1])


def _is_long(key: Tensor) -> bool:
    plain = key.device.type == "cpu" and key.dtype == torch.float32 and not torch.compiler.is_compiling()
    return plain and key.numel() >= LONG and not torch.is_grad_enabled()


def attend_reference(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None = None, lags: int = 1
) -> Tensor:
    """`attend` one query and one key at a time."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    t, s = query.shape[2], key.shape[2] // lags
    mixed = []
    for position in range(s - t, s):
        first = 0 if window is None else max(position - window + 1, 0)
        seen = range(first * lags, (position + 1) * lags)
        scores = [(query[:, :, position - (s - t)] * key[:, :, pair]).sum(-1) * scale for pair in seen]
        weights = torch.stack(scores).softmax(0)
        mixed.append(sum(weight[..., None] * value[:, :, pair] for weight, pair in zip(weights, seen, strict=True)))
    return torch.stack(mixed, dim=2)


def visible(t: int, s: int, window: int | None, device: torch.device) -> Tensor:
    """Which of s tokens each of the last t of them sees: a boolean ``(t, s)``."""
    distance = torch.arange(s - t, s, device=device)[:, None] - torch.arange(s, device=device)
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float, *, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """One call of the fused kernel, in the dtype and the widths that suit it.

    Args:
        query: ``(b, h, t, k)``.
        key: ``(b, g, s, k)`` where g divides h: consecutive query heads share a key head.
        value: ``(b, g, s, v)``.
        scale: the factor on the scores.
        mask: boolean, what is seen, broadcast to ``(b, h, t, s)``.
        causal: query t sees the keys up to t.

    Returns:
        ``(b, h, t, v)``.
    """
    width, on_cpu = value.shape[-1], query.device.type == "cpu"
    if on_cpu and query.dtype == torch.bfloat16 and key.shape[2] <= WIDENED:
        with torch.autocast("cpu", enabled=False):
            mixed = fused_attention(query.float(), key.float(), value.float(), scale, mask=mask, causal=causal)
        return mixed.to(query.dtype)
    if on_cpu and query.shape[2] > 1 and width < key.shape[-1]:
        # the CPU kernel wants one width; without it the scores of all pairs would lie in memory
        value = F.pad(value, (0, key.shape[-1] - width))
    grouped = query.shape[1] != key.shape[1]
    mixed = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )
    return mixed[..., :width]
