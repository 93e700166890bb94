"""The random Synthesizer: attention whose weights are learned, and the same for every text."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.cached_attention import SHOWN_TOKENS, CachedAttention, attention_panel, extended
from mixers.ops.attention import head_size, merge_heads
from mixers.ops.attention_chunks import softmax_weights
from zoo import Panel

SCALE = 10.0
"""Of the logits over the numbers of the table. Adam moves a number by the learning rate at most, however clear its
gradient is: a logit has to go further in a thousand steps than a weight has."""


class Synthesizer(CachedAttention):
    """Attention that never looks: where a token attends to depends on its position alone, by a learned table.

        y_t = sum_{s <= t} softmax_s( 10 R[h, t, s] ) v_s        write_t = W_out y_t        v = W_in x

    10 R: a logit for each head and each pair of positions, of which the lower triangle counts. A shorter text uses the
    leading block. What attention gains over this is what its queries and keys do.

    Options:
        heads: heads; they divide dim.
        context: the longest sequence that it takes, for which R is made.

    Cost: time ``t**2 * d``, and the scores of all pairs, ``h * t**2``, for the whole batch, beside
    ``h * context**2`` parameters. State: the values of all tokens so far, ``t * d`` numbers.

    Raises:
        ValueError: heads that do not divide dim, a context below 1, a sequence that is longer.

    Source: Tay et al. 2020, "Synthesizer: Rethinking Self-Attention", arXiv:2005.00743.
    """

    paper: ClassVar[str] = "Tay et al. 2020, arXiv:2005.00743"
    no_decay: ClassVar[frozenset[str]] = frozenset({"logits"})

    def __init__(self, dim: int, *, heads: int = 4, context: int = 256) -> None:
        super().__init__()
        if context < 1:
            raise ValueError(f"context must be 1 or more, not {context}")
        self.size = head_size(dim, heads, heads, rope=False)
        self.max_length = context
        self.project_in = nn.Linear(dim, dim, bias=False)
        self.logits = nn.Parameter(torch.empty(heads, context, context))
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the logits with a deviation of 1, so that the heads start apart."""
        nn.init.normal_(self.logits, std=1 / SCALE)

    def panels(self, x: Tensor) -> list[Panel]:
        """The learned attention of the first tokens, of any text."""
        time = min(x.shape[1], SHOWN_TOKENS)
        return [attention_panel(self._weights(0, time))]

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        value = projected.unflatten(-1, (-1, self.size)).transpose(1, 2)
        seen = extended(past, "value", value)
        weights = self._weights(seen.shape[2] - value.shape[2], seen.shape[2])
        return merge_heads(weights.to(seen.dtype) @ seen), {"value": seen}

    def _weights(self, start: int, stop: int) -> Tensor:
        """The attention weights of the tokens from start to stop on all up to stop, ``(h, t, s)``."""
        context = self.logits.shape[1]
        if stop > context:
            raise ValueError(f"{stop} tokens are more than its context={context}: build it with a longer one")
        logits = SCALE * self.logits[:, start:stop, :stop]
        query, key = torch.arange(start, stop, device=logits.device), torch.arange(stop, device=logits.device)
        return softmax_weights(logits, query[:, None] >= key)
