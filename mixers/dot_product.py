"""Dot-product attention, the mixer that the others are measured against."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.ops.attention import attend, head_size, merge_heads, normalize, split_heads
from mixers.ops.attention_weights import pair_weights
from mixers.ops.documents import by_document
from mixers.ops.lags import tail
from mixers.ops.rotary import rotate
from zoo import Panel, State, TokenMixer

SHOWN_HEADS, SHOWN_TOKENS = 4, 64
"""So many heads and tokens are shown of an attention matrix."""


class DotProduct(TokenMixer):
    """Each token reads the values of earlier tokens, weighed by how well their keys match its query.

        y_t = sum_s softmax_s( <q_t, k_s> * k**-0.5 ) v_s     over  s <= t
        write_t = W_out [ sigmoid(W_gate x_t) * y_t ]         the gate only with gated=True

    q, k, v: linear in the reads x, cut into heads (Q, K, V of the paper); k: channels a head. With `qk_norm` queries
    and keys are scaled to unit RMS and then by a learned gain a channel, with `rope` they are rotated by their
    position, in this order.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        rope: rotary positions, angles in float32 at least; without them the order of earlier tokens is not seen.
        qk_norm: RMS norm of queries and keys, with learned gains.
        window: how many tokens a query sees, its own included; None for all.
        gated: multiply what the heads write by a sigmoid gate that is read from the stream.
        bias: add learned constants to the projections.

    Cost: time ``t**2 * d``, or ``t * window * d``, beside the projections; one fused attention call, which never
    holds the scores of all pairs. State: the keys and values of all tokens so far, ``2 * t * kv_heads * k`` numbers,
    or of the last window - 1. Packed documents cost the sum of the squares of their lengths instead of ``t**2``.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, an odd head size with rope, a
            window below 1.

    Source: Vaswani et al. 2017, arXiv:1706.03762. Grouped queries: arXiv:2305.13245. Rotary positions:
    arXiv:2104.09864. Query-key norm: arXiv:2010.04245. Sliding window: arXiv:2004.05150. Gate: arXiv:2505.06708.
    """

    paper: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        rope: bool = True,
        qk_norm: bool = False,
        window: int | None = None,
        gated: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rope, self.window = heads, heads if kv_heads is None else kv_heads, rope, window
        self.size = head_size(dim, heads, self.kv_heads, rope)
        if window is not None and window < 1:
            raise ValueError(f"window={window} would hide a token from itself; choose 1 or more, or None to see all")
        width = (heads + 2 * self.kv_heads) * self.size
        self.project_in = nn.Linear(dim, width + (dim if gated else 0), bias=bias)
        self.project_out = nn.Linear(dim, dim, bias=bias)
        self.query_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        self.key_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the gains of the query-key norm at one."""
        for gain in (self.query_gain, self.key_gain):
            if gain is not None:
                nn.init.ones_(gain)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        if documents is None:
            return self._mix(x, {})[0]
        return self.project_out(by_document(lambda read: self._attend(read, {})[0], documents, self.project_in(x)))

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the keys and values of what they can see, and the tokens' count."""
        past = {} if state is None else state
        written, key, value = self._mix(x, past)
        kept = key.shape[2] if self.window is None else self.window - 1
        position = past.get("position", 0) + torch.full(x.shape[:1], x.shape[1], device=x.device)
        return written, {"key": tail(key, kept), "value": tail(value, kept), "position": position}

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence."""
        query, key, _, _ = self._placed(self.project_in(x[:1, :SHOWN_TOKENS]), 0)
        weights = pair_weights(query, key, lags=1, pool="sum", scale=self.size**-0.5, window=self.window)
        title = f"attention in the first sequence, its first {query.shape[2]} tokens"
        reading = "A row is a query: its attention weights, 1 in all, on itself and the tokens before it."
        axes = ("head", "query (token)", "key (token)")
        return [Panel(title, reading, weights[0, :SHOWN_HEADS, :, :, 0], "attention weight", axes)]

    def _mix(self, x: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The writes, and the keys and values that they came from."""
        mixed, key, value = self._attend(self.project_in(x), past)
        return self.project_out(mixed), key, value

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What the heads say, gated, ``(b, t, d)``, and the keys and values that it came from."""
        query, key, value, gate = self._placed(projected, past.get("position", 0))
        if past:
            key, value = torch.cat([past["key"], key], dim=2), torch.cat([past["value"], value], dim=2)
        mixed = merge_heads(attend(query, key, value, scale=self.size**-0.5, window=self.window))
        if gate.shape[-1]:
            mixed = mixed * gate.sigmoid()
        return mixed, key, value

    def _placed(self, projected: Tensor, position: int | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries and keys, normalised and rotated, values, and what the gate is made of."""
        query, key, value, gate = split_heads(projected, self.heads, self.kv_heads, self.size)
        query, key = normalize(query, self.query_gain), normalize(key, self.key_gain)
        if self.rope:
            query, key = rotate(query, position), rotate(key, position)
        return query, key, value, gate
