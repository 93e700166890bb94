"""RWKV-6, a decaying state whose inputs are mixed with the token before, by as much as the tokens say."""

from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from mixers.layers.grouped_norm import GroupedNorm
from mixers.layers.state_panel import decay_panel
from mixers.ops.activations import at_least_float32
from mixers.ops.attention import head_size
from mixers.ops.decay import decay
from mixers.ops.token_shift import token_shift
from zoo import Panel, State, TokenMixer

PARTS = 5
"""What is mixed with the token before, each in its own way: decay, key, value, query and gate, in this order."""

LARGEST_RANK = 32
"""What ranks grow to with the width."""

EPSILON = 64e-5
"""Added to the variance of a head, which makes little of what is small."""


class RWKV6(TokenMixer):
    """A state that decays channel by channel and is read before it is written, behind a shift by one token.

        x^i_t = x_t + (x_{t-1} - x_t) * (μ_i + B_i tanh(A_i (x_t + (x_{t-1} - x_t) * μ)))        i: w, k, v, r, g
        k, v, r = W_k x^k, W_v x^v, W_r x^r;  w = -exp(w_0 + B_w tanh(A_w x^w));  g = silu(W_g x^g)
        y_t = (S_{t-1} + Diag(u) k_t v_t^T)^T r_t        S_t = Diag(exp(w_t)) S_{t-1} + k_t v_t^T
        write_t = W_out [ group norm(y_t) * g_t ]

    Finch. μ, μ_i, w_0: learned, a channel; A, B: of low rank; u: what a token reads of its own write, a channel; the
    norm is that of a head.

    Options:
        heads: they divide dim.
        rank: of each A_i; None for dim / 16, rounded up, 32 at most.
        decay_rank: of A_w; None for twice the default of rank.
        floor: the least log decay of a token, below 0; None for no limit. With -5 it costs half as much.
        layer_index: counted from 0; later layers start with longer memories.
        layers: how many the model has.

    Cost: time ``5 * t * d**2`` for the projections, and ``t * d * (2 k + 32)`` for the state and the pairs of tokens
    within chunks of 32. State: ``d * k`` numbers for S, and the last read, ``d``.

    Raises:
        ValueError: heads that do not divide dim, ranks below 1, a floor of 0 or more, a layer_index that is not below
            layers.

    Source: Peng et al. 2024, arXiv:2404.05892.
    """

    paper: ClassVar[str] = "Peng et al. 2024, arXiv:2404.05892"
    no_decay: ClassVar[frozenset[str]] = frozenset({"mix", "bonus"})

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        rank: int | None = None,
        decay_rank: int | None = None,
        floor: float | None = None,
        layer_index: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        default = min(-(-dim // 16), LARGEST_RANK)
        self.rank = default if rank is None else rank
        decay_rank = 2 * default if decay_rank is None else decay_rank
        for name, value in {"rank": self.rank, "decay_rank": decay_rank}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        if floor is not None and floor >= 0:
            raise ValueError(f"floor must be below 0, not {floor}: it is the least log decay; None sets no limit")
        if not 0 <= layer_index < layers:
            raise ValueError(f"layer_index must be from 0 to layers - 1: with layers={layers}, not {layer_index}")
        self.heads, self.size, self.floor = heads, head_size(dim, heads, heads, rope=False), floor
        self.depth, self.fresh = layer_index / max(layers - 1, 1), 1 - layer_index / layers
        self.base_mix = nn.Parameter(torch.empty(dim))
        self.mix = nn.Parameter(torch.empty(PARTS, dim))
        self.mix_down = nn.Linear(dim, PARTS * self.rank, bias=False)
        self.mix_up = nn.Parameter(torch.empty(PARTS, self.rank, dim))
        self.decay_bias = nn.Parameter(torch.empty(dim))
        self.decay_down = nn.Linear(dim, decay_rank, bias=False)
        self.decay_up = nn.Linear(decay_rank, dim, bias=False)
        self.bonus = nn.Parameter(torch.empty(heads, self.size))
        self.project_key = nn.Linear(dim, dim, bias=False)
        self.project_value = nn.Linear(dim, dim, bias=False)
        self.project_query = nn.Linear(dim, dim, bias=False)
        self.project_gate = nn.Linear(dim, dim, bias=False)
        self.norm = GroupedNorm(dim, heads, eps=EPSILON, center=True, bias=True)
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start with shares and decays that depend on channel and layer only, from long memories to short ones."""
        dim = len(self.base_mix)
        channel = torch.arange(dim, device=self.base_mix.device)
        place, last = channel / dim, channel / max(dim - 1, 1)
        kept = place**self.fresh
        self.base_mix.copy_(1 - kept)
        gentle = place ** (0.5 * self.fresh)
        self.mix.copy_(1 - torch.stack([kept, kept, kept + 0.3 * self.depth, gentle, gentle]))
        self.decay_bias.copy_(-6 + 5 * last ** (0.7 + 1.3 * self.depth))
        own = self.depth * (1 - last) + 0.1 * ((channel + 1) % 3 - 1)
        self.bonus.copy_(own.view_as(self.bonus))
        for down in (self.mix_down, self.decay_down):
            nn.init.zeros_(down.weight)
        for up in (self.mix_up, self.decay_up.weight):
            nn.init.uniform_(up, -0.01, 0.01)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds S, ``(b, h, k, v)``, and the last read, ``(b, d)``."""
        return self._mix(x, {} if state is None else state, None)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        before, last = token_shift(x, past.get("last"), documents=documents)
        for_decay, for_key, for_value, for_query, for_gate = self._shifted(x, before)
        y, matrix = decay(
            self._by_head(self.project_query(for_query)),
            self._by_head(self.project_key(for_key)),
            self._by_head(self.project_value(for_value)),
            self._by_head(self._log_decay(for_decay)),
            past.get("matrix"),
            read="before",
            bonus=self.bonus,
            floor=self.floor,
            documents=documents,
        )
        gate = silu(self.project_gate(for_gate))
        return self.project_out(self.norm(y.flatten(2)).to(y.dtype) * gate), {"matrix": matrix, "last": last}

    def _shifted(self, x: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """The reads, mixed with the ones before them in five ways, ``(b, t, d)`` each."""
        change = before - x
        low = self.mix_down(x + change * self.base_mix).tanh().unflatten(-1, (PARTS, self.rank))
        asked = torch.einsum("btir,ird->ibtd", low, self.mix_up)
        return (x + change * (self.mix[:, None, None] + asked)).unbind(0)

    def _log_decay(self, x: Tensor) -> Tensor:
        """Below 0, and not below the floor, ``(b, t, d)``."""
        wide = at_least_float32(self.decay_up(self.decay_down(x).tanh())) + self.decay_bias
        return -(wide if self.floor is None else wide.clamp_max(log(-self.floor))).exp()

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.size))

    def panels(self, x: Tensor) -> list[Panel]:
        """What each channel keeps of its state."""
        for_decay, *_ = self._shifted(x[:1], token_shift(x[:1])[0])
        return [decay_panel(self._log_decay(for_decay).exp())]
