"""Mixture of block attention: a query attends to its own block and to the few earlier ones that match it best."""

from typing import ClassVar

from torch import Tensor, nn

from mixers.layers.cached_attention import SHOWN_HEADS, CachedAttention, extended, tokens_so_far
from mixers.ops.attention import head_size, merge_heads, split_heads
from mixers.ops.block_attention import moba, moba_blocks
from mixers.ops.rotary import rotate_pair
from zoo import Panel


class MoBA(CachedAttention):
    """Softmax attention to a few blocks of tokens, chosen by how the mean of their keys matches the query.

        y_t = sum_s softmax_s( <q_t, k_s> * k**-0.5 ) v_s     over  s <= t  in the chosen blocks
        chosen_t = the block of t, and the (blocks - 1) earlier ones of the highest  <q_t, mean_{s in block} k_s>

    q, k, v: linear in the reads x, cut into heads, queries and keys rotated by their position; k: channels a head. The
    choice itself has no gradient. With as many blocks as there are, this is dot-product.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        block_size: tokens in a block.
        blocks: how many blocks a query sees, its own included.
        rope: rotary positions; without them the order of earlier tokens is not seen.

    Cost: here that of dot-product with a mask a head, for 128 queries at a time: what is not chosen is masked and not
    skipped, so that this shows what such a model learns and not what it saves. State: the keys and values of all tokens
    so far, ``2 * t * kv_heads * k`` numbers.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, an odd head size with rope, a
            block_size or blocks below 1.

    Source: Lu et al. 2025, arXiv:2502.13189, with blocks of 512 tokens.
    """

    paper: ClassVar[str] = "Lu et al. 2025, arXiv:2502.13189"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        block_size: int = 16,
        blocks: int = 3,
        rope: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rope = heads, heads if kv_heads is None else kv_heads, rope
        self.size = head_size(dim, heads, self.kv_heads, rope)
        for name, value in {"block_size": block_size, "blocks": blocks}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        self.block_size, self.blocks = block_size, blocks
        self.project_in = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.size, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def panels(self, x: Tensor) -> list[Panel]:
        """Which blocks the queries of the first heads see in the first sequence."""
        query, key, _ = self._placed(self.project_in(x[:1]), 0)
        chosen = moba_blocks(query, key, self.block_size, self.blocks)[0, :SHOWN_HEADS]
        axes = ("head", "query (token)", f"block of {self.block_size} tokens")
        reading = "A row is a query: 1 at the blocks that it sees, its own among them."
        return [Panel("blocks that are chosen in the first sequence", reading, chosen.float(), "chosen", axes)]

    def _placed(self, projected: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _ = split_heads(projected, self.heads, self.kv_heads, self.size)
        return (*rotate_pair(query, key, position), value) if self.rope else (query, key, value)

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value = self._placed(projected, tokens_so_far(past))
        seen = {"key": extended(past, "key", key), "value": extended(past, "value", value)}
        options = {"block_size": self.block_size, "blocks": self.blocks}
        return merge_heads(moba(query, seen["key"], seen["value"], scale=self.size**-0.5, **options)), seen
