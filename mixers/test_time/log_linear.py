"""Log-linear attention: linear attention with a memory for each power of two of its past."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.memory_gates import DecayGate
from mixers.layers.memory_panels import SHOWN_TOKENS, kept_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.activations import at_least_float32
from mixers.ops.log_linear import LogLinearState, log_linear
from zoo import Panel, State, TokenMixer


class LogLinear(TokenMixer):
    """Linear attention that keeps the recent past in small memories and the distant past in large ones.

        y_t = sum_{s <= t} lambda_t[level(t, s)] exp(g_{s+1} + ... + g_t) <q_t, k_s> v_s
        level(t, s) = binary digits of (t xor s), at most levels - 1        lambda_t = softplus(L * W_lambda x_t)
        g_t = -exp(A) softplus(W_g x_t + b)        write_t = W_out [ rmsnorm(y_t) * gain * silu(W_gate x_t) ]

    q, k, v: silu of a convolution of what is read, q and k of length 1; g: one log decay a head; lambda: what a token
    makes of each level, one a head. As in a Fenwick tree the tokens before t are cut into powers of two, the shortest
    next to t: level 0 is the token itself, level i holds ``2**(i - 1)`` tokens, and the last level all older ones.

    Options:
        heads: heads, each with its memories; they divide dim.
        levels: how many levels there are: up to ``2**(levels - 1)`` tokens have one of their own, 2048 by default.
        kernel_size: taps of the convolution, up to 8.
        gated: multiply what the heads write by a gate that is read from the stream.

    Cost: time ``t * (5 d**2 + d * (4 k levels + 64))``, with log2(t) in the place of levels where that is less. State:
    ``(levels - 1) * heads * k**2`` numbers, the number of tokens so far, and 9 d of the convolution.

    Raises:
        ValueError: heads that do not divide dim, levels not from 2 to 32, a kernel_size that is out of its range.

    Source: Guo et al. 2025, arXiv:2506.04761, whose Log-Linear Mamba-2 has these decays and scales.
    """

    paper: ClassVar[str] = "Guo et al. 2025, arXiv:2506.04761"
    no_decay: ClassVar[frozenset[str]] = frozenset({"level_gain"})

    def __init__(self, dim: int, *, heads: int = 4, levels: int = 12, kernel_size: int = 4, gated: bool = True) -> None:
        super().__init__()
        if not 2 <= levels <= 32:
            raise ValueError(f"levels must be from 2 to 32, not {levels}: each holds twice the tokens of the one below")
        size, _ = head_sizes(dim, heads, None, None)
        self.heads_in = ConvolvedHeads(dim, heads, size, size, kernel_size)
        self.decay = DecayGate(nn.Linear(dim, heads, bias=False), heads)
        self.project_levels = nn.Linear(dim, heads * levels, bias=False)
        self.level_gain = nn.Parameter(torch.empty(heads, levels))
        self.heads_out = NormedHeads(dim, heads, size, nn.Linear(dim, dim, bias=False) if gated else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the gains of the levels at one."""
        nn.init.ones_(self.level_gain)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the memories, ``(b, h, levels - 1, k, k)``, and the number of tokens."""
        return self._mix(x, {} if state is None else state, None)

    def panels(self, x: Tensor) -> list[Panel]:
        """What the tokens make of each level, and what each head keeps of its memories."""
        scale = self._scale(x[:1])[0, :SHOWN_TOKENS].mean(1)
        title, reading = "levels in the first sequence", "A column is a token: the scale of each level, over all heads."
        levels = Panel(title, reading, scale.t(), quantity="scale", axes=("level", "token"))
        return [levels, kept_panel(self.decay(x[:1]))]

    def _scale(self, x: Tensor) -> Tensor:
        """What a token makes of each level, ``(b, t, h, l)``."""
        asked = at_least_float32(self.project_levels(x)).unflatten(-1, self.level_gain.shape)
        return softplus(self.level_gain * asked)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        query, key, value, convolution = self.heads_in(x, past.get("convolution"), documents)
        state = LogLinearState(past["memory"], past["tokens"]) if past else None
        y, after = log_linear(query, key, value, self.decay(x), self._scale(x), state, documents=documents)
        return self.heads_out(y, x), {"memory": after.memory, "tokens": after.tokens, "convolution": convolution}
