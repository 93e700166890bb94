"""Native sparse attention: blocks as wholes, the blocks that matter token by token, and the latest tokens."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.cached_attention import SHOWN_HEADS, CachedAttention, extended, tokens_so_far
from mixers.ops.attention import attend, head_size, merge_heads, split_heads
from mixers.ops.block_attention import compressed_weights, nsa
from mixers.ops.rotary import rotate_pair
from zoo import Panel


class NativeSparse(CachedAttention):
    """Three sparse attentions beside each other, mixed by gates: to means of blocks, to a few blocks, to a window.

        y_t = a_t * compressed_t + b_t * selected_t + c_t * windowed_t         a, b, c = sigmoid(W_gate x_t)
        compressed_t = sum_n p_tn mean_{s in n} v_s     p_t = softmax_n( <q_t, mean_{s in n} k_s> * k**-0.5 )   blocks n
        selected_t = softmax attention over  s <= t  in the blocks of the highest p
        windowed_t = softmax attention over  t - window < s <= t

    q, k, v: linear in the reads x, cut into heads, queries and keys rotated by their position; k: channels a head. A
    block is compressed once it is complete. Heads that share keys select by the mean of their p; a query's own block,
    the one before it and the first are always selected. The selection has no gradient of its own, p learns through the
    compressed branch. In the paper the compression is learned and each branch has keys and values of its own.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        block_size: tokens in a block.
        blocks: how many blocks are selected, the three that always are included.
        window: how many tokens the windowed branch sees, the query's own included.
        rope: rotary positions; without them the order of earlier tokens is not seen.

    Cost: here that of two dot-products, for what is not selected is masked and not skipped, so that this shows what
    such a model learns and not what it saves. State: the keys and values of all tokens so far,
    ``2 * t * kv_heads * k`` numbers.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, an odd head size with rope, a
            block_size, blocks or window below 1.

    Source: Yuan et al. 2025, arXiv:2502.11089; means of blocks, and gates a head, as in flash-linear-attention.
    """

    paper: ClassVar[str] = "Yuan et al. 2025, arXiv:2502.11089"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        block_size: int = 16,
        blocks: int = 4,
        window: int = 32,
        rope: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rope = heads, heads if kv_heads is None else kv_heads, rope
        self.size = head_size(dim, heads, self.kv_heads, rope)
        for name, value in {"block_size": block_size, "blocks": blocks, "window": window}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        self.block_size, self.blocks, self.window = block_size, blocks, window
        self.project_in = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.size + 3 * heads, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads to whole blocks, and the mean of the three gates."""
        query, key, _, gates = self._placed(self.project_in(x), 0)
        weights = compressed_weights(query[:1], key[:1], scale=self.size**-0.5, block_size=self.block_size)
        branches, axes = ("compressed", "selected", "windowed"), ("head", "query (token)", "block")
        shown = [Panel("gates", "How open a branch is.", gates.mean((1, 2, 3)), "gate", ("branch",), (branches,))]
        if not weights.shape[-1]:
            return shown
        reading = (
            f"A row is a query: its attention weights on the means of complete blocks of {self.block_size} tokens."
        )
        of_blocks = weights[0, :SHOWN_HEADS]
        return [
            Panel("attention to blocks in the first sequence", reading, of_blocks, "attention weight", axes),
            *shown,
        ]

    def _placed(self, projected: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values, and the gates of the three branches, ``(3, b, h, t)``."""
        query, key, value, rest = split_heads(projected, self.heads, self.kv_heads, self.size)
        if self.rope:
            query, key = rotate_pair(query, key, position)
        return query, key, value, rest.sigmoid().unflatten(-1, (3, self.heads)).permute(2, 0, 3, 1)

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value, gates = self._placed(projected, tokens_so_far(past))
        seen = {"key": extended(past, "key", key), "value": extended(past, "value", value)}
        both, scale = (seen["key"], seen["value"]), self.size**-0.5
        sparse = nsa(query, *both, scale=scale, block_size=self.block_size, blocks=self.blocks)
        branches = (*sparse, attend(query, *both, scale=scale, window=self.window))
        mixed = torch.stack([gate[..., None] * branch for gate, branch in zip(gates, branches, strict=True)]).sum(0)
        return merge_heads(mixed), seen
