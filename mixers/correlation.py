"""Correlation: attention that compares tokens at several lags, of which the dot product is lag zero."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.ops.attention import head_size, merge_heads, normalize, split_heads
from mixers.ops.attention_weights import normalize_parts, pair_weights, spread_of
from mixers.ops.correlation import add_lags, bias_lags, correlate, lags_of, one_more, stack_lags, weigh_lags
from mixers.ops.documents import by_document
from mixers.ops.growing import append, tokens_so_far
from mixers.ops.lags import add_past, tail
from mixers.ops.rotary import rotate, rotate_pair
from zoo import Panel, State, TokenMixer

SHOWN_HEADS, SHOWN_TOKENS = 4, 64
"""So many heads and tokens are shown of an attention matrix."""

_WEIGHT = "attention weight"
_QUERIES = "A row is a query: its attention weights, 1 in all, on itself and the tokens before it."
_PAIRS = {
    "sum": "All weights of a head add up to 1; a token's weight is divided among its lags in proportion to |w_l r_l|.",
    "logsumexp": "All weights of a head add up to 1: they are a softmax over the (token, lag) pairs.",
    "max": "All weights of a head add up to 1; a token's whole weight stands at the lag that wins.",
}
_LAGS = {
    "sum": ("weight", "The factor on the keys of each lag, where lag 0 has 1"),
    "logsumexp": ("bias (nats)", "What is added to the scores of each lag before they are pooled, where lag 0 has 0"),
    "max": ("bias (nats)", "What is added to the scores of each lag before the best one wins, where lag 0 has 0"),
}


class Correlation(TokenMixer):
    """Attention whose scores correlate query and key at several lags; lag zero alone is the dot product.

        r_l(t, s) = < q_{t - a*l} , k_{s-l} > * k**-0.5           a = 0: compare="key"   a = 1: compare="joint"
        y_t = sum_s softmax_s( pool_l [ w_l , r_l(t, s) ] ) v_s   over  s <= t,  l = 0..max_lag
        write_t = W_out [ sigmoid(W_gate x_t) * y_t ]             the gate only with gated=True

    q, k, v: linear in the reads x, cut into heads; k: channels a head; w_l: a weight a lag and key head, learned, which
    all query heads of a key head share. The pools are ``sum_l w_l r_l`` with w_0 = 1, ``log sum_l exp(r_l + w_l)`` and
    ``max_l (r_l + w_l)`` with w_0 = 0. What is delayed is normalised and then rotated afterwards, at the position where
    it lands. Keys before the first token are zero in the sum, and no part of the other pools.

    With axis="feature" the lags are -max_lag..max_lag and shift the channels of a key against those of the query:
    ``r_l = sum_c q_c k_{c-l}``, with zeros at the ends. `lag_weight`, ``(kv_heads, lags)``, holds the lags 1, ...,
    max_lag, and with axis="feature" behind them -1, ..., -max_lag.

    All w_l start at zero. For the sum that is dot-product attention. For the other pools it puts every lag on equal
    terms: their gradient is proportional to their weight, and a lag that starts without one would learn last.

    Options:
        max_lag: the largest lag; 0 is exactly dot-product attention, and loads its parameters.
        axis: what the lags shift, "time" (tokens) or "feature" (the channels of one head).
        compare: what a lag delays, the "key" alone, or query and key together ("joint"), so that windows of tokens
            meet.
        pool: how the lags become one score: "sum" is linear, "logsumexp" is a softmax over all (token, lag)
            pairs, "max" lets the best lag win.
        dynamic: w_l is read from the stream on top of the learned constant: for the sum as a weight, for the other
            pools as an additive bias. It is read at s, where the key lands, not at s - l, where it comes from.
        heads: query heads; they divide dim.
        kv_heads: heads of keys, values and lag weights, each shared by heads / kv_heads query heads; None for as
            many as heads.
        rope: rotary positions, angles in float32 at least; without them the order of earlier tokens is seen by lags
            alone.
        qk_norm: RMS norm of queries and keys, with learned gains. With pool="sum" and compare="key" it acts on the one
            key sum_l w_l k_{s-l}, otherwise on each delayed query and key, before its weight.
        window: how many positions s a query sees, its own included; None for all. Their keys reach back max_lag tokens
            further, so a write depends on the last window + max_lag reads; with axis="feature" on the last window.
        gated: multiply what the heads write by a sigmoid gate that is read from the stream.
        bias: add learned constants to the projections.

    Cost, with L lags: for the sum over keys the time of dot-product and ``2 * t * L * k`` a head more, the memory and
    the state of dot-product and the last max_lag keys more. All others take L times the time of the scores, and
    their state holds L keys a token. The joint sum and the logsumexp over keys never hold the scores of all pairs;
    max, and the joint logsumexp, hold ``t * s * L`` of them a head. Packed documents cost what each costs alone.

    Raises:
        ValueError: a negative max_lag, lags over features that reach beyond a head or go with compare="joint", a window
            below 1, heads that do not divide dim, kv_heads that do not divide heads, an odd head size with rope.

    Source: Srivastava, "Leviathan" (repository attention-free-revolution), whose idea this keeps: a token is a
    signal, and the dot product its cross-correlation at lag zero. The parts have been seen before: shifted keys in
    KV-Shifting (arXiv:2411.19574) and the partial key offset of modded-nanogpt, short convolutions over keys in
    Primer (arXiv:2109.08668), CAT (arXiv:2407.05591) and Canon layers (arXiv:2512.17351), convolutions that are read
    from the stream in Dynamic Short Convolutions (arXiv:2606.03825), convolved scores, of which the joint window is
    the diagonal, in Multi-Token Attention (arXiv:2504.00927), correlation over lags in Autoformer (arXiv:2106.13008).
    """

    paper: ClassVar[str] = "Srivastava, Leviathan (attention-free-revolution)"

    def __init__(
        self,
        dim: int,
        *,
        max_lag: int = 3,
        axis: Literal["time", "feature"] = "time",
        compare: Literal["key", "joint"] = "key",
        pool: Literal["sum", "logsumexp", "max"] = "sum",
        dynamic: bool = False,
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
        self.max_lag, self.axis, self.compare, self.pool = max_lag, axis, compare, pool
        self.size = head_size(dim, heads, self.kv_heads, rope)
        self.scale = self.size**-0.5
        _check_lags(max_lag, axis, compare, self.size)
        if window is not None and window < 1:
            raise ValueError(f"window={window} would hide a token from itself; choose 1 or more, or None to see all")
        width = (heads + 2 * self.kv_heads) * self.size
        self.project_in = nn.Linear(dim, width + (dim if gated else 0), bias=bias)
        self.project_out = nn.Linear(dim, dim, bias=bias)
        self.query_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        self.key_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        learned = len(lags_of(max_lag, axis)) - 1
        self.lag_weight = nn.Parameter(torch.empty(self.kv_heads, learned)) if learned else None
        self.read_lags = nn.Parameter(torch.empty(self.kv_heads * learned, dim)) if learned and dynamic else None
        self.reset_parameters()

    @staticmethod
    def modernize_options(given: Mapping[str, Any]) -> dict[str, Any]:
        """``window="joint"`` and ``span=64`` of earlier versions as ``compare="joint"`` and ``window=64``."""
        names = {"span": "window"} | ({"window": "compare"} if isinstance(given.get("window"), str) else {})
        return {names.get(name, name): value for name, value in given.items()}

    def reset_parameters(self) -> None:
        """Start the gains of the query-key norm at one and the lags at zero."""
        for gain in (self.query_gain, self.key_gain):
            if gain is not None:
                nn.init.ones_(gain)
        for weight in (self.lag_weight, self.read_lags):
            if weight is not None:
                nn.init.zeros_(weight)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        if documents is None:
            return self._mix(x, {})[0]
        projected, weights = self.project_in(x), self._lag_weights(x)
        if weights.ndim == 2:
            mixed = by_document(lambda own: self._attend(own, weights, {})[0], documents, projected)
        else:
            # weights that were read from the stream belong to a token each, and go with it
            of_tokens = weights.transpose(1, 2)
            mixed = by_document(
                lambda own, read: self._attend(own, read.transpose(1, 2), {})[0], documents, projected, of_tokens
            )
        return self.project_out(mixed)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the keys of all (token, lag) pairs, the values, and the last raw keys and
        queries.
        """
        past = {} if state is None else state
        written, seen, recent = self._mix(x, past)
        kept = seen["key"].shape[2] if self.window is None else self.window - 1
        following = {name: tail(of, kept) for name, of in seen.items()}
        following |= {name: tail(of, self.max_lag, past.get(name)) for name, of in recent.items()}
        position = tokens_so_far(x, past.get("position"))
        return written, {**following, "position": position}

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention in the first sequence; with lags, the pairs that its last token sees, and the lag weights."""
        attention = self._attention_weights(x[:1, :SHOWN_TOKENS], SHOWN_TOKENS)[0, :SHOWN_HEADS].sum(-1)
        title = f"attention in the first sequence, its first {attention.shape[1]} tokens"
        shown = [Panel(title, _QUERIES, attention, _WEIGHT, ("head", "query (token)", "key (token)"))]
        return shown if self.lag_weight is None else [*shown, *self._lag_panels(x)]

    def _lag_panels(self, x: Tensor) -> Iterator[Panel]:
        lags = lags_of(self.max_lag, self.axis)
        order = sorted(range(len(lags)), key=lags.__getitem__)
        axis, names = f"lag ({'tokens' if self.axis == 'time' else 'channels'})", [str(lags[place]) for place in order]
        pairs = self._attention_weights(x[:1], 1)[0, :SHOWN_HEADS, 0].mT[:, order]
        title = f"(token, lag) pairs that the last of {x.shape[1]} tokens sees"
        yield Panel(title, _PAIRS[self.pool], pairs, _WEIGHT, ("head", axis, "key (token)"), ((), names, ()))
        what, reading = _LAGS[self.pool]
        weights, learned = self._lag_weights(x), [place for place in order if lags[place]]
        kinds = {"": weights}
        if self.read_lags is not None:
            mean, spread = spread_of(weights.transpose(1, 2))
            kinds = {", its mean over positions": mean, ", its standard deviation over positions": spread}
        for kind, values in kinds.items():
            ticks = ((), [str(lags[place]) for place in learned])
            yield Panel(
                f"{what} by lag{kind}", f"{reading}{kind}.", values[:, learned], what, ("key head", axis), ticks
            )

    def _attention_weights(self, x: Tensor, last: int) -> Tensor:
        """The attention weights of the last queries on their (token, lag) pairs, ``(b, heads, t, s, l)``."""
        query, key, _, _ = split_heads(self.project_in(x), self.heads, self.kv_heads, self.size)
        weights, queries = self._lag_weights(x), self._queries(query, None, 0)[:, :, -last:]
        if self._adds_keys:
            parts = weigh_lags(stack_lags(key, self.max_lag, self.axis), weights)
            parts = normalize_parts(parts, self.key_gain)
            placed = rotate(parts.flatten(1, 2)).view_as(parts) if self.rope else parts
            keys = placed.transpose(2, 3).flatten(3)
        else:
            keys = self._keys(key, weights, None, 0)
        lags = len(lags_of(self.max_lag, self.axis))
        return pair_weights(queries, keys, lags=lags, pool=self.pool, scale=self.scale, window=self.window)

    def _mix(self, x: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The writes, the keys and values that they came from, and the raw keys and queries that lags will ask for."""
        weights = None if self._adds_past(x, past) else self._lag_weights(x)
        mixed, seen, recent = self._attend(self.project_in(x), weights, past)
        return self.project_out(mixed), seen, recent

    def _attend(
        self, projected: Tensor, weights: Tensor | None, past: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """What the heads say, gated, ``(b, t, d)``, and the rest of what `_mix` returns; no weights if `_adds_past`."""
        position = past.get("position", 0)
        query, key, value, gate = split_heads(projected, self.heads, self.kv_heads, self.size)
        if weights is None or self._adds_keys:
            before = past.get("recent_key")
            if weights is None:
                key_sum = add_past(key, cast(Tensor, self.lag_weight), cast(Tensor, before))
            else:
                key_sum = add_lags(key, weights, self.axis, before)
            queries, keys = normalize(query, self.query_gain), normalize(key_sum, self.key_gain)
            queries, keys = rotate_pair(queries, keys, position) if self.rope else (queries, keys)
        else:
            keys = self._keys(key, weights, past.get("recent_key"), position)
            queries = self._queries(query, past.get("recent_query"), position)
        recent = {}
        if self.max_lag and self.axis == "time":
            recent = {"recent_key": key, "recent_query": query} if self.compare == "joint" else {"recent_key": key}
        if past:
            keys, value = append(past["key"], keys), append(past["value"], value)
        lags = 1 if self._adds_keys else len(lags_of(self.max_lag, self.axis))
        mixed = correlate(queries, keys, value, lags=lags, pool=self.pool, scale=self.scale, window=self.window)
        mixed = merge_heads(mixed)
        if gate.shape[-1]:
            mixed = mixed * gate.sigmoid()
        return mixed, {"key": keys, "value": value}, recent

    @property
    def _adds_keys(self) -> bool:
        """Whether the lags of a key are added up to one key before anything is compared."""
        return self.pool == "sum" and self.compare == "key"

    def _adds_past(self, x: Tensor, past: dict[str, Tensor]) -> bool:
        """Whether these reads are a token to whose key the last ones are added by learned weights: the quick case."""
        learned = self._adds_keys and self.read_lags is None
        return learned and x.shape[1] == 1 and "recent_key" in past and not torch.is_grad_enabled()

    def _lag_weights(self, x: Tensor) -> Tensor:
        """The weights of all lags, that of lag zero included: ``(kv_heads, l)`` or ``(b, kv_heads, t, l)``."""
        at_zero = 1.0 if self.pool == "sum" else 0.0
        if self.lag_weight is None:
            return x.new_full((self.kv_heads, 1), at_zero)
        weights = self.lag_weight
        if self.read_lags is not None:
            read = F.linear(x, self.read_lags, weights.flatten())
            weights = read.unflatten(-1, (self.kv_heads, -1)).transpose(1, 2)
        return F.pad(weights, (1, 0), value=at_zero)

    def _keys(self, key: Tensor, weights: Tensor, past: Tensor | None, position: int | Tensor) -> Tensor:
        """The keys of all pairs side by side, ``(b, kv_heads, t, l * k)``."""
        # Lags become heads while they are placed: a delayed key is rotated where it lands, not where it comes from.
        lagged = stack_lags(key, self.max_lag, self.axis, past)
        lagged_keys = self._place(lagged.flatten(1, 2), self.key_gain, position).unflatten(1, lagged.shape[1:3])
        if self.pool == "sum":
            return weigh_lags(lagged_keys, weights).transpose(2, 3).flatten(3)
        before = None if self.axis == "feature" else 0 if past is None else past.shape[2]
        return bias_lags(lagged_keys, weights, scale=self.scale, before=before).transpose(2, 3).flatten(3)

    def _queries(self, query: Tensor, past: Tensor | None, position: int | Tensor) -> Tensor:
        """The queries, ``(b, heads, t, k)``, or those of all lags side by side, ``(b, heads, t, l * k)``."""
        lagged = stack_lags(query, self.max_lag if self.compare == "joint" else 0, self.axis, past)
        placed = self._place(lagged.flatten(1, 2), self.query_gain, position).unflatten(1, lagged.shape[1:3])
        return (placed if self.pool == "sum" else one_more(placed)).transpose(2, 3).flatten(3)

    def _place(self, x: Tensor, gain: Tensor | None, position: int | Tensor) -> Tensor:
        """Normalise and rotate queries or keys, ``(b, h, t, k)``."""
        # Normalised first: a gain a channel does not commute with a rotation, which mixes pairs of channels.
        x = normalize(x, gain)
        return rotate(x, position) if self.rope else x


def _check_lags(max_lag: int, axis: str, compare: str, size: int) -> None:
    if max_lag < 0:
        raise ValueError(f"max_lag={max_lag} would look ahead; choose 0 or more")
    if axis == "feature" and compare == "joint":
        raise ValueError(
            'axis="feature" does not go with compare="joint": query and key would shift alike; '
            'choose compare="key" or axis="time"'
        )
    if axis == "feature" and max_lag >= size:
        raise ValueError(f"max_lag={max_lag} shifts out all {size} channels of a head; choose less, or fewer heads")
