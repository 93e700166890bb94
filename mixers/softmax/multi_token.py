"""Multi-token attention: a score looks at the scores of neighbouring queries and keys."""

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
from mixers.ops.attention import head_size, merge_heads, split_heads
from mixers.ops.attention_chunks import share_heads
from mixers.ops.lags import tail
from mixers.ops.multi_token import multi_token_attend, multi_token_weights
from mixers.ops.rotary import rotate_pair
from zoo import Panel


class MultiToken(CachedAttention):
    """Softmax attention whose scores are convolved over queries and keys, so that several tokens are sought at once.

        y_t = (1 - lambda_0) rmsnorm( sum_s A_ts v_s )          A_h = sum_h' M_hh' softmax_s(a_h')   over  s <= t
        a_ts = sum_{i < I, |j| <= (J-1)/2} taps_ij z_{t-i, s+j}         z_ts = <q_t, k_s> * k**-0.5  if  s <= t,  else 0

    q, k, v: linear in the reads x, cut into heads, queries and keys rotated by their position; k: channels a head. taps
    are learned a head, M in groups of heads h. The norm is over the channels of a head, with gains;
    lambda_0 = 0.8 - 0.6 exp(-0.3 layer). It starts as plain attention with a norm.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        query_kernel: rows I that the convolution sees: the query and the ones before it.
        key_kernel: columns J that it sees, an odd number: the key and its neighbours on both sides.
        head_kernel: heads in a group, whose weights are mixed after the softmax; it divides heads. None for 2, or 1
            where heads is odd.
        norm: the norm and the factor 1 - lambda_0.
        rope: rotary positions; without them order is seen by the convolution alone.
        layer_index: the layer, counted from 0, for lambda_0.

    Cost: time ``t**2 * heads * (2 * k + I * J)`` beside the projections; the scores of 128 queries lie in memory at a
    time, and all of them while training. State: the keys and values of all tokens so far, ``2 * t * kv_heads * k``
    numbers, and the last I - 1 queries.

    Raises:
        ValueError: heads that do not divide dim, kv_heads or head_kernel that do not divide heads, an odd head size
            with rope, a query_kernel below 1, a key_kernel that is even or below 1.

    Source: Golovneva et al. 2025, arXiv:2504.00927. The factor 1 - lambda_0 is that of arXiv:2410.05258.
    """

    paper: ClassVar[str] = "Golovneva et al. 2025, arXiv:2504.00927"

    no_decay: ClassVar[frozenset[str]] = frozenset({"taps", "head_mix"})

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        query_kernel: int = 6,
        key_kernel: int = 11,
        head_kernel: int | None = None,
        norm: bool = True,
        rope: bool = True,
        layer_index: int = 0,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rope = heads, heads if kv_heads is None else kv_heads, rope
        self.size = head_size(dim, heads, self.kv_heads, rope)
        head_kernel = 2 - heads % 2 if head_kernel is None else head_kernel
        _check_kernels(query_kernel, key_kernel, head_kernel, heads)
        self.project_in = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.size, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.taps = nn.Parameter(torch.empty(heads, query_kernel, key_kernel))
        self.head_mix = nn.Parameter(torch.empty(heads // head_kernel, head_kernel, head_kernel))
        self.gain = nn.Parameter(torch.empty(self.size)) if norm else None
        self.factor = 0.2 + 0.6 * math.exp(-0.3 * layer_index)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as plain attention: kernels that pass what they are given, and gains of one."""
        nn.init.zeros_(self.taps)
        with torch.no_grad():
            self.taps[:, -1, self.taps.shape[-1] // 2] = 1
            self.head_mix.copy_(torch.eye(self.head_mix.shape[-1]).expand_as(self.head_mix))
        if self.gain is not None:
            nn.init.ones_(self.gain)

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence, and the kernels over queries and keys."""
        query, key, _ = self._placed(self.project_in(x[:1, :SHOWN_TOKENS]), 0)
        key, count = share_heads(key, self.heads), query.shape[2]
        weights = multi_token_weights(query, key, self.taps, self.head_mix, scale=self.size**-0.5, last=count)
        height, width = self.taps.shape[1:]
        ticks = ((), [str(-row) for row in reversed(range(height))], [str(j - width // 2) for j in range(width)])
        axes = ("head", "query (tokens from its own)", "key (tokens from its own)")
        reading = "What a score takes of the scores of neighbouring queries (rows) and keys (columns)."
        kernels = Panel("kernels of the scores", reading, self.taps[:16], "weight of the tap", axes, ticks)
        return [attention_panel(weights[0]), kernels]

    def _placed(self, projected: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _ = split_heads(projected, self.heads, self.kv_heads, self.size)
        return (*rotate_pair(query, key, position), value) if self.rope else (query, key, value)

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value = self._placed(projected, tokens_so_far(past))
        seen = {"key": extended(past, "key", key), "value": extended(past, "value", value)}
        queries = extended(past, "query", query)
        mixed = multi_token_attend(
            queries,
            seen["key"],
            seen["value"],
            self.taps,
            self.head_mix,
            scale=self.size**-0.5,
            earlier=queries.shape[2] - query.shape[2],
        )
        if self.gain is not None:
            mixed = F.rms_norm(mixed, (self.size,), self.gain.to(mixed.dtype), 1e-5) * self.factor
        return merge_heads(mixed), {**seen, "query": tail(queries, self.taps.shape[1] - 1)}


def _check_kernels(query_kernel: int, key_kernel: int, head_kernel: int, heads: int) -> None:
    if query_kernel < 1:
        raise ValueError(f"query_kernel must be 1 or more, not {query_kernel}")
    if key_kernel < 1 or key_kernel % 2 == 0:
        raise ValueError(f"key_kernel={key_kernel} has no middle, where a key meets itself; choose 1, 3, 5 or so on")
    if head_kernel < 1 or heads % head_kernel:
        raise ValueError(
            f"head_kernel={head_kernel} does not divide heads={heads}; choose head_kernel among the divisors of heads"
        )
