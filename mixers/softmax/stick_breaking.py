"""Stick-breaking attention: tokens are asked from the latest to the earliest, each takes a part of what is left."""

from typing import ClassVar

from torch import Tensor, nn

from mixers.layers.cached_attention import (
    SHOWN_TOKENS,
    CachedAttention,
    attention_panel,
    extended,
)
from mixers.ops.attention import head_size, merge_heads, split_heads
from mixers.ops.attention_chunks import share_heads
from mixers.ops.stick_breaking import stick_breaking, stick_weights
from zoo import Panel


class StickBreaking(CachedAttention):
    """Attention in place of softmax by breaking a stick: the latest token that matches takes most of it.

        y_t = sum_{s < t} A_ts v_s + (1 - sum_{s < t} A_ts) v_t
        A_ts = sigmoid(z_ts) prod_{s < r < t} (1 - sigmoid(z_tr))          z_ts = <q_t, k_s> * k**-0.5

    q, k, v: linear in the reads x, cut into heads; k: channels a head. A token does not ask itself. The order of tokens
    is seen without positions, for later ones come first. What is left of the stick goes to the token's own value,
    without remainder=True to nothing.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        remainder: give what is left of the stick to the token's own value.

    Cost: time ``t**2 * d`` beside the projections, with a logarithm and a sum for each score; the scores of 128 queries
    lie in memory at a time, and all of them while training. State: the keys and values of all tokens so far,
    ``2 * t * kv_heads * k`` numbers.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads.

    Source: Tan et al., ICLR 2025, arXiv:2410.17980.
    """

    paper: ClassVar[str] = "Tan et al. 2024, arXiv:2410.17980"

    def __init__(self, dim: int, *, heads: int = 4, kv_heads: int | None = None, remainder: bool = True) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.remainder = heads, heads if kv_heads is None else kv_heads, remainder
        self.size = head_size(dim, heads, self.kv_heads, rope=False)
        self.project_in = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.size, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence; a row adds up to 1 less the remainder."""
        query, key, _, _ = split_heads(self.project_in(x[:1, :SHOWN_TOKENS]), self.heads, self.kv_heads, self.size)
        weights, _ = stick_weights(query, share_heads(key, self.heads), scale=self.size**-0.5)
        return [attention_panel(weights[0])]

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value, _ = split_heads(projected, self.heads, self.kv_heads, self.size)
        seen = {"key": extended(past, "key", key), "value": extended(past, "value", value)}
        mixed, rest = stick_breaking(query, seen["key"], seen["value"], scale=self.size**-0.5)
        if self.remainder:
            mixed = mixed + (rest[..., None] * share_heads(value, self.heads)).to(mixed.dtype)
        return merge_heads(mixed), seen
