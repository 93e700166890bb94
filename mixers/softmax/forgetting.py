"""Forgetting attention: softmax attention whose scores fade by gates that are read from the stream."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.cached_attention import SHOWN_TOKENS, CachedAttention, extended, softmax_panel
from mixers.ops.attention import head_size, merge_heads, normalize, split_heads
from mixers.ops.attention_bias import attend_biased, decay_biases
from mixers.ops.lags import tail
from zoo import Panel


class Forgetting(CachedAttention):
    """Softmax attention in which every token decides how much of what came before it is forgotten (FoX).

        y_t = sum_s softmax_s( <q_t, k_s> * k**-0.5 + sum_{s < r <= t} g_r ) v_s     over  s <= t
        g_t = log sigmoid(W_f x_t + b_f)          write_t = W_out [ sigmoid(W_gate x_t) * y_t ]

    q, k, v: linear in the reads x, cut into heads; k: channels a head; g: the log forget gate, one a query head, which
    takes the place of positions. The gate W_gate is there only with gated=True. With both options, it is the Pro block
    of the paper without its shift of keys and values.

    Options:
        heads: query heads; they divide dim.
        kv_heads: heads of keys and values, each shared by heads / kv_heads query heads; None for as many as heads.
        qk_norm: RMS norm of queries and keys, with learned gains.
        gated: multiply what the heads write by a sigmoid gate that is read from the stream.
        window: how many tokens a query sees, its own included; None for all.

    Cost: that of dot-product; the decays ride in a channel of the keys, which costs a copy of them, one a query head,
    for every 128 queries. State: keys, values and log gates of all tokens so far, ``t * (2 * kv_heads * k + heads)``
    numbers, or of the last window - 1. Nothing cumulated is kept, so nothing grows over long texts.

    Raises:
        ValueError: heads that do not divide dim, kv_heads that do not divide heads, a window below 1.

    Source: Lin et al., ICLR 2025, arXiv:2503.02130.
    """

    paper: ClassVar[str] = "Lin et al. 2025, arXiv:2503.02130"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        qk_norm: bool = False,
        gated: bool = False,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.window = heads, heads if kv_heads is None else kv_heads, window
        self.size = head_size(dim, heads, self.kv_heads, rope=False)
        if window is not None and window < 1:
            raise ValueError(f"window={window} would hide a token from itself; choose 1 or more, or None to see all")
        width = (heads + 2 * self.kv_heads) * self.size
        self.project_in = nn.Linear(dim, width + heads + (dim if gated else 0), bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.forget_bias = nn.Parameter(torch.empty(heads))
        self.query_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        self.key_gain = nn.Parameter(torch.empty(self.size)) if qk_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the gains of the query-key norm at one, and the bias of the forget gate at zero."""
        nn.init.zeros_(self.forget_bias)
        for gain in (self.query_gain, self.key_gain):
            if gain is not None:
                nn.init.ones_(gain)

    def panels(self, x: Tensor) -> list[Panel]:
        """The attention of the first heads in the first sequence, and how far back each head remembers."""
        query, key, _, decay, _ = self._split(self.project_in(x[:1, :SHOWN_TOKENS]))
        bias = decay_biases(decay, decay.shape[2])
        attention = softmax_panel(query, key, scale=self.size**-0.5, bias=bias)
        whole = self._split(self.project_in(x))[3].exp()
        title, reading = "forget gates", "What a head keeps of its past at a token, averaged over all tokens: 1 is all."
        return [attention, Panel(title, reading, whole.mean((0, 2)), "forget gate", ("head",))]

    def _split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries and keys, normalised, values, log gates ``(b, h, t)``, and what the output gate is made of."""
        query, key, value, rest = split_heads(projected, self.heads, self.kv_heads, self.size)
        forget, gate = rest.split([self.heads, rest.shape[-1] - self.heads], dim=-1)
        # A sum over the text follows: in half precision it would be noise.
        wide = forget.to(torch.promote_types(forget.dtype, torch.float32)) + self.forget_bias
        return normalize(query, self.query_gain), normalize(key, self.key_gain), value, _log_gate(wide), gate

    def _attend(self, projected: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        query, key, value, decay, gate = self._split(projected)
        seen = {"key": extended(past, "key", key), "value": extended(past, "value", value)}
        seen["log_decay"] = extended(past, "log_decay", decay)
        mixed = merge_heads(
            attend_biased(
                query,
                seen["key"],
                seen["value"],
                scale=self.size**-0.5,
                log_decay=seen["log_decay"],
                window=self.window,
            )
        )
        if gate.shape[-1]:
            mixed = mixed * gate.sigmoid()
        if self.window is not None:
            kept = self.window - 1
            seen = {
                name: tail(of[..., None], kept)[..., 0] if of.ndim == 3 else tail(of, kept) for name, of in seen.items()
            }
        return mixed, seen


def _log_gate(logit: Tensor) -> Tensor:
    return F.logsigmoid(logit).transpose(1, 2)
