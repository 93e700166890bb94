"""Dot-product attention, the mixer that the others are measured against."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.sharing import FIRST_VALUE, KEYS, check_sharing, first_values, handed_up_keys
from mixers.ops.attention import attend, check_scores, head_size, merge_heads, normalize, split_heads
from mixers.ops.attention_bias import attend_biased, causal_weights
from mixers.ops.documents import by_document
from mixers.ops.growing import append, tokens_so_far
from mixers.ops.lags import tail
from mixers.ops.rotary import rotate_pair
from zoo import Mixed, Panel, State, TokenMixer

SHOWN_HEADS, SHOWN_TOKENS = 4, 64
"""So many heads and tokens are shown of an attention matrix."""

KEYS_AND_VALUES = 2
"""So many tensors a layer is given that reads the keys and values of another."""


class DotProduct(TokenMixer):
    """Each token reads the values of earlier tokens, weighed by how well their keys match its query.

        y_t = sum_s softmax_s( <q_t, k_s> * k**-0.5 ) v_s     over  s <= t
        write_t = W_out [ sigmoid(W_gate x_t) * y_t ]         the gate only with gated=True

    q, k, v: linear in the reads x, cut into heads (Q, K, V of the paper); k: channels a head. With `qk_norm` queries
    and keys are scaled to unit RMS and then by a learned gain a channel, with `rope` they are rotated by their
    position, in this order.

    Layers may share: with `value_residual`, v is ``m_0 v' + m_1 v``, where v' is that of the first such layer, and in
    that layer v itself. With `kv_from`, k and v are those that an earlier layer hands up under the name of its `kv_to`.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        rope: rotary positions, angles in float32 at least; without them the order of earlier tokens is not seen.
        qk_norm: RMS norm of queries and keys, with learned gains.
        window: how many tokens a query sees, its own included; None for all.
        gated: multiply what the heads write by a sigmoid gate that is read from the stream.
        bias: add learned constants to the projections.
        sink: a learned logit a head that takes attention and gives nothing, so that a query need not attend.
        soft_cap: scores are squashed to lie within plus and minus so much, by a tanh; None leaves them.
        rope_fraction: how much of a head's channels is rotated, up to 1; the others compare without positions.
        rope_base: the ratio of the slowest rotation's period to the fastest; longer texts want larger ones.
        value_residual: mix the values with those of the first layer, by two learned factors that start at one half.
        kv_to: hand keys and values up to later layers, under this name.
        kv_from: read the keys and values that an earlier layer hands up under this name, and make none; kv_heads is
            then that of that layer. Where no layer hands up any, the queries stand in for both.

    Cost: time ``t**2 * d``, or ``t * window * d``, beside the projections; one fused attention call, which never
    holds the scores of all pairs. State: the keys and values of all tokens so far, ``2 * t * kv_heads * k`` numbers,
    or of the last window - 1; of all with `kv_to`, and none with `kv_from`. A soft cap holds the scores of 128 queries
    at a time, and all of them while training. Packed documents cost the sum of the squares of their lengths instead of
    ``t**2``.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, an odd head size with rope, a
            window below 1, a soft_cap that is not positive, a rope_fraction outside of 0 to 1, a rope_base below 1, a
            kv_to or kv_from that is no plain word, kv_from with kv_to or value_residual; when it runs, keys or values
            of earlier layers that do not fit, or under other names only.

    Source: Vaswani et al. 2017, arXiv:1706.03762. Grouped queries: arXiv:2305.13245. Rotary positions:
    arXiv:2104.09864. Query-key norm: arXiv:2010.04245. Sliding window: arXiv:2004.05150. Gate: arXiv:2505.06708.
    Sink: arXiv:2508.10925. Soft cap: arXiv:2408.00118. Value residual: arXiv:2410.17897. Shared keys: arXiv:2405.12981.
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
        sink: bool = False,
        soft_cap: float | None = None,
        rope_fraction: float = 1.0,
        rope_base: float = 10000.0,
        value_residual: bool = False,
        kv_to: str | None = None,
        kv_from: str | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.rope, self.window = heads, heads if kv_heads is None else kv_heads, rope, window
        self.size = head_size(dim, heads, self.kv_heads, rope)
        if window is not None and window < 1:
            raise ValueError(f"window={window} would hide a token from itself; choose 1 or more, or None to see all")
        check_scores(soft_cap, rope_fraction, rope_base)
        check_sharing(kv_to, kv_from, value_residual)
        self.soft_cap, self.rope_base, self.kv_to, self.kv_from = soft_cap, rope_base, kv_to, kv_from
        self.rotated = max(2, 2 * int(self.size * rope_fraction / 2))
        own = 0 if kv_from else self.kv_heads
        self.project_in = nn.Linear(dim, (heads + 2 * own) * self.size + (dim if gated else 0), bias=bias)
        self.project_out = nn.Linear(dim, dim, bias=bias)
        self.query_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        self.key_gain = nn.Parameter(torch.empty(self.size)) if qk_norm and own else None
        self.sink = nn.Parameter(torch.empty(heads)) if sink else None
        self.value_mix = nn.Parameter(torch.empty(2)) if value_residual else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the gains of the query-key norm at one, sinks at zero, and value residuals at one half each."""
        for parameter, start in (
            (self.query_gain, 1.0),
            (self.key_gain, 1.0),
            (self.sink, 0.0),
            (self.value_mix, 0.5),
        ):
            if parameter is not None:
                nn.init.constant_(parameter, start)

    def forward(
        self, x: Tensor, *, shared: Mapping[str, Any] | None = None, documents: Tensor | None = None
    ) -> Tensor | Mixed:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        projected = self.project_in(x)
        given = self._given(shared)
        if documents is None:
            mixed, key, value = self._attend(projected, {}, *given)
        else:
            mixed, key, value = self._attend_each(documents, projected, *given)
        return self._handing_up(self.project_out(mixed), shared, projected, key, value)

    def step(
        self, x: Tensor, state: State | None = None, *, shared: Mapping[str, Any] | None = None
    ) -> tuple[Tensor | Mixed, State]:
        """Mix the next reads; the state holds the keys and values of what they can see, and the tokens' count."""
        past = {} if state is None else state
        projected, given = self.project_in(x), self._given(shared)
        mixed, key, value = self._attend(projected, past, *given)
        written = self._handing_up(self.project_out(mixed), shared, projected, key, value)
        position = tokens_so_far(x, past.get("position"))
        if len(given) == KEYS_AND_VALUES:
            return written, {"position": position}
        # With kv_to all are kept: a later layer may look back further than this one.
        kept = key.shape[2] if self.window is None or self.kv_to else self.window - 1
        return written, {"key": tail(key, kept), "value": tail(value, kept), "position": position}

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence, unless the keys are those of another layer."""
        if self.kv_from:
            return []
        query, key, _, _ = self._split(self.project_in(x[:1, :SHOWN_TOKENS]))
        query, key = self._placed(query, key, 0)
        weights = causal_weights(
            query, key, scale=self.size**-0.5, window=self.window, sink=self.sink, soft_cap=self.soft_cap
        )
        title = f"attention in the first sequence, its first {query.shape[2]} tokens"
        total = "1 in all, with the sink," if self.sink is not None else "1 in all,"
        reading = f"A row is a query: its attention weights, {total} on itself and the tokens before it."
        axes = ("head", "query (token)", "key (token)")
        return [Panel(title, reading, weights[0, :SHOWN_HEADS], "attention weight", axes)]

    def _attend(self, projected: Tensor, past: dict[str, Tensor], *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the heads say, gated, ``(b, t, d)``, and the keys and values that it came from.

        What is given are the values of the first layer, or the keys and values of an earlier one.
        """
        query, key, value, gate = self._split(projected)
        position = past.get("position", 0)
        if len(given) == KEYS_AND_VALUES:
            query, _ = self._placed(query, query, position)
            key, value = (x.transpose(1, 2) for x in given)
        else:
            query, key = self._placed(query, key, position)
            value = self._with_first(value, *given)
            if past:
                key, value = append(past["key"], key), append(past["value"], value)
        mixed = merge_heads(self._weighed(query, key, value))
        if gate.shape[-1]:
            mixed = mixed * gate.sigmoid()
        return mixed, key, value

    def _attend_each(self, documents: Tensor, projected: Tensor, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of each packed document, at the places of the rows."""

        def attend_one(own: Tensor, *of_own: Tensor) -> Tensor:
            mixed, *both = self._attend(own, {}, *of_own)
            # What is put back into the rows is one tensor: keys and values are channels of it, if anybody wants them.
            return torch.cat([mixed, *map(merge_heads, both)], dim=-1) if self.kv_to else mixed

        packed, width = by_document(attend_one, documents, projected, *given), self.kv_heads * self.size
        if not self.kv_to:
            return packed, packed, packed
        mixed, key, value = packed.split([packed.shape[-1] - 2 * width, width, width], dim=-1)
        return mixed, self._by_head(key), self._by_head(value)

    def _split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys and values by head, and what the gate is made of."""
        if self.kv_from is None:
            return split_heads(projected, self.heads, self.kv_heads, self.size)
        query, gate = projected.split([self.heads * self.size, projected.shape[-1] - self.heads * self.size], dim=-1)
        query = self._by_head(query)
        return query, query, query, gate  # queries stand in for keys and values where no layer hands any up

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.size)).transpose(1, 2)

    def _placed(self, query: Tensor, key: Tensor, position: int | Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys, normalised and then rotated."""
        query, key = normalize(query, self.query_gain), normalize(key, self.key_gain)
        return rotate_pair(query, key, position, self.rope_base, self.rotated) if self.rope else (query, key)

    def _with_first(self, value: Tensor, *first: Tensor) -> Tensor:
        """The values, ``(b, g, t, v)``, mixed with those of the first layer, their own in that layer itself."""
        if self.value_mix is None:
            return value
        of_first, of_own = self.value_mix.to(value.dtype)
        return of_first * (self._by_head(*first) if first else value) + of_own * value

    def _weighed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scale = self.size**-0.5
        if self.sink is None and self.soft_cap is None:
            return attend(query, key, value, scale=scale, window=self.window)
        return attend_biased(query, key, value, scale=scale, window=self.window, sink=self.sink, soft_cap=self.soft_cap)

    def _given(self, shared: Mapping[str, Any] | None) -> tuple[Tensor, ...]:
        """What earlier layers handed up for this one, time first, or nothing."""
        if shared is None:
            return ()
        if self.value_mix is not None:
            return first_values(shared, self.kv_heads * self.size)
        return () if self.kv_from is None else handed_up_keys(shared, self.kv_from, self.heads, self.size)

    def _handing_up(
        self, written: Tensor, shared: Mapping[str, Any] | None, projected: Tensor, key: Tensor, value: Tensor
    ) -> Tensor | Mixed:
        """The writes, with what later layers want of this one."""
        up: dict[str, Any] = {}
        if self.kv_to:
            up[KEYS + self.kv_to] = (key.transpose(1, 2), value.transpose(1, 2))
        if self.value_mix is not None and (shared is None or shared.get(FIRST_VALUE) is None):
            up[FIRST_VALUE] = merge_heads(self._split(projected)[2])
        return Mixed(written, shared=up) if up else written
