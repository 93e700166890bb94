"""Based: linear attention over all tokens and softmax attention over the last few, side by side."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.cached_attention import extended
from mixers.layers.linear_memory import memory_sizes, reach_panel, split_memory_heads
from mixers.layers.memory_panels import SHOWN_TOKENS
from mixers.ops.attention import attend, head_size, merge_heads, split_heads
from mixers.ops.documents import by_document
from mixers.ops.features import normalized, taylor
from mixers.ops.growing import tokens_so_far
from mixers.ops.lags import tail
from mixers.ops.rotary import rotate_pair
from zoo import Panel, State, TokenMixer

EPSILON = 1e-6
"""Added to the denominator, which is 1/2 at least."""


class Based(TokenMixer):
    """Some heads read a sum over the whole past, the others attend exactly to the last tokens.

        y_t = S_t^T phi(q_t) / (<z_t, phi(q_t)> + 1e-6)            S_t = S_{t-1} + phi(k_t) v_t^T, z alike with 1 for v
        y_t = sum_s softmax_s( <q_t, k_s> * v**-0.5 ) v_s          over  t - window < s <= t, in the heads of the window
        write_t = W_out y_t

    q, k, v: linear in the reads, cut into heads; phi: the second-order Taylor series of the exponential, so that
    ``<phi(q), phi(k)> = 1 + a + a**2 / 2`` with ``a = <q, k> * k**-0.5``. The linear heads remember roughly and for
    good, the others exactly and briefly; in the heads of the window queries and keys are rotated by their position.

    Options:
        heads: heads in all; they divide dim.
        window: how many tokens a query sees in the heads of the window, its own included.
        window_heads: how many heads those are; None for half of them.
        key_size: channels k of the linear heads' queries and keys; None for 16 and dim / heads at most.

    Cost: time ``t * (d * window + d * k**2 / 2) / 2`` beside the projections with half of the heads each, linear in t.
    State: ``(1 + k + k (k + 1) / 2) * (v + 1)`` numbers a linear head, and ``2 * (window - 1) * v`` a head of the
    window.

    Raises:
        ValueError: heads that do not divide dim, an odd head size, a window below 1, window_heads that leave no head of
            one kind, a key_size below 1.

    Source: Arora et al. 2024, arXiv:2402.18668. There the two are layers of their own, beside short convolutions; here
    they are heads of one layer.
    """

    paper: ClassVar[str] = "Arora et al. 2024, arXiv:2402.18668"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        window: int = 64,
        window_heads: int | None = None,
        key_size: int | None = None,
    ) -> None:
        super().__init__()
        self.size = head_size(dim, heads, heads, rope=True)
        if window < 1:
            raise ValueError(f"window={window} would hide a token from itself; choose 1 or more")
        window_heads = heads // 2 if window_heads is None else window_heads
        if not 0 < window_heads < heads:
            raise ValueError(
                f"window_heads={window_heads} of heads={heads} leaves no head of one kind: choose heads=2 or more, and "
                "window_heads below it"
            )
        self.key_size, _ = memory_sizes(dim, heads, key_size, min(self.size, 16), None)
        self.window, self.window_heads, self.linear_heads = window, window_heads, heads - window_heads
        self.widths = [3 * window_heads * self.size, self.linear_heads * (2 * self.key_size + self.size)]
        self.project_in = nn.Linear(dim, sum(self.widths), bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        near, far = self.project_in(x).split(self.widths, dim=-1)
        if documents is None:
            attended = self._attend(near, {})[0]
        else:
            attended = by_document(lambda own: self._attend(own, {})[0], documents, near)
        return self._write(attended, self._remember(far, None, documents)[0])

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the sums, and the window's keys, values and position."""
        past = {} if state is None else state
        near, far = self.project_in(x).split(self.widths, dim=-1)
        attended, following = self._attend(near, past)
        read, memory = self._remember(far, past.get("memory"), None)
        return self._write(attended, read), following | {"memory": memory}

    def panels(self, x: Tensor) -> list[Panel]:
        """What reaches later tokens through the linear heads, in the first sequence."""
        query, key, value = self._linear(self.project_in(x[:1, :SHOWN_TOKENS]).split(self.widths, dim=-1)[1])
        return [reach_panel(lambda probe: normalized(query, key, probe, epsilon=EPSILON)[0], value)]

    def _attend(self, near: Tensor, past: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What the heads of the window say, ``(b, t, h * v)``, and what they keep."""
        query, key, value, _ = split_heads(near, self.window_heads, self.window_heads, self.size)
        query, key = rotate_pair(query, key, past.get("position", 0))
        key, value = extended(past, "key", key), extended(past, "value", value)
        mixed = merge_heads(attend(query, key, value, scale=self.size**-0.5, window=self.window))
        kept = {"key": tail(key, self.window - 1), "value": tail(value, self.window - 1)}
        return mixed, kept | {"position": tokens_so_far(near, past.get("position"))}

    def _linear(self, far: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of queries and of keys, and values, of the linear heads."""
        query, key, value = split_memory_heads(far, self.linear_heads, self.key_size, self.size)
        return taylor(query), taylor(key), value

    def _remember(self, far: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        return normalized(*self._linear(far), state, epsilon=EPSILON, documents=documents)

    def _write(self, attended: Tensor, read: Tensor) -> Tensor:
        return self.project_out(torch.cat([attended, read.flatten(2)], dim=-1))
