"""Differential attention: the difference of two attentions, in which what both see by chance cancels."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.cached_attention import (
    SHOWN_TOKENS,
    CachedAttention,
    attention_panel,
    extended,
    tokens_so_far,
)
from mixers.ops.attention import attend, head_size, merge_heads
from mixers.ops.attention_bias import causal_weights
from mixers.ops.rotary import rotate_pair
from zoo import Panel


class Differential(CachedAttention):
    """The difference of two softmax attentions with one set of values, so that attention to noise cancels.

        y_t = (1 - lambda_0) rmsnorm( sum_s (A1_ts - lambda A2_ts) v_s )
        Ai = softmax over  s <= t  of  <qi_t, ki_s> * k**-0.5
        lambda = exp(<a1, b1>) - exp(<a2, b2>) + lambda_0          lambda_0 = 0.8 - 0.6 exp(-0.3 layer)

    q1, q2, k1, k2, v: linear in the reads x, cut into heads; k: the channels of a query, half of those of a value, so
    that two queries and two keys are as wide as one of dot-product. Queries and keys are rotated by their position.
    a, b: learned vectors, shared by the heads; the norm is over the channels of a head, without gains.

    Options:
        heads: pairs of query heads; they divide dim.
        kv_heads: heads of values and pairs of keys, each shared by heads / kv_heads pairs; None for as many as heads.
        rope: rotary positions; without them the order of earlier tokens is not seen.
        layer_index: the layer, counted from 0, for lambda_0.

    Cost: twice the scores of dot-product, of half the width, here filled up to the width of the values: time
    ``2 * t**2 * d``. State: the keys and values of all tokens so far, ``2 * t * dim * kv_heads / heads`` numbers.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, a head size that is odd, or no
            multiple of 4 with rope.

    Source: Ye et al., ICLR 2025, arXiv:2410.05258, where layers count from 1 and lambda_0 from layer - 1.
    """

    paper: ClassVar[str] = "Ye et al. 2024, arXiv:2410.05258"

    no_decay: ClassVar[frozenset[str]] = frozenset({"lambda_query", "lambda_key"})

    def __init__(
        self, dim: int, *, heads: int = 4, kv_heads: int | None = None, rope: bool = True, layer_index: int = 0
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rope = heads, heads if kv_heads is None else kv_heads, rope
        self.width = head_size(dim, heads, self.kv_heads, rope=False)
        _check_halves(dim, heads, self.width, rope)
        self.size = self.width // 2
        self.lambda_start = 0.8 - 0.6 * math.exp(-0.3 * layer_index)
        self.project_in = nn.Linear(dim, dim + 2 * self.kv_heads * self.width, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.lambda_query = nn.Parameter(torch.empty(2, self.size))
        self.lambda_key = nn.Parameter(torch.empty(2, self.size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors of lambda from N(0, 0.1)."""
        nn.init.normal_(self.lambda_query, std=0.1)
        nn.init.normal_(self.lambda_key, std=0.1)

    def panels(self, x: Tensor) -> list[Panel]:
        """The difference of attentions of the first heads in the first sequence; what is negative was cancelled."""
        query, key, _ = self._split(self.project_in(x[:1, :SHOWN_TOKENS]), 0)
        first, second = causal_weights(query, key, scale=self.size**-0.5)[0].chunk(2)
        return [attention_panel(first - self._lambda() * second)]

    def _lambda(self) -> Tensor:
        first, second = (self.lambda_query * self.lambda_key).sum(-1).exp()
        return first - second + self.lambda_start

    def _split(self, projected: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """The first queries of all heads and then the second, ``(b, 2 * h, t, k)``, keys likewise, and values."""
        widths = [self.heads * self.width, self.kv_heads * self.width, self.kv_heads * self.width]
        query, key, value = projected.split(widths, dim=-1)
        query, key = (part.unflatten(-1, (-1, self.size)).transpose(1, 2) for part in (query, key))
        if self.rope:
            query, key = rotate_pair(query, key, position)
        return query, key, value.unflatten(-1, (-1, self.width)).transpose(1, 2)

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value = self._split(projected, tokens_so_far(past))
        seen = {"key": extended(past, "key", key), "value": extended(past, "value", value)}
        # The fused kernel wants queries as wide as values; both attentions read the same of these.
        query, keys = F.pad(query, (0, self.size)), F.pad(seen["key"], (0, self.size))
        both = attend(query, keys, seen["value"].repeat(1, 2, 1, 1), scale=self.size**-0.5)
        first, second = both.chunk(2, dim=1)
        mixed = first - self._lambda().to(both.dtype) * second
        return merge_heads(F.rms_norm(mixed, (self.width,), eps=1e-5) * (1 - self.lambda_start)), seen


def _check_halves(dim: int, heads: int, width: int, rope: bool) -> None:
    unit, reason = (4, "and rope turns channels in pairs") if rope else (2, "of equal width")
    if width % unit:
        raise ValueError(
            f"a head is cut into two queries {reason}, and dim={dim} with heads={heads} makes heads of size {width}; "
            f"choose heads so that dim / heads is a multiple of {unit}"
        )
