"""Mamba-3, a state space whose state turns, and which is written by the trapezoidal rule."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from mixers.layers.grouped_norm import GroupedNorm
from mixers.layers.state_panel import decay_panel
from mixers.layers.steps import draw_step_bias
from mixers.ops.activations import at_least_float32
from mixers.ops.mamba3 import mamba3
from zoo import Panel, State, TokenMixer

SLOWEST = 1e-4
"""The least rate of decay."""

NAMES = ("angle", "matrix", "key", "value")
"""Of the tensors of the state."""


class Mamba3(TokenMixer):
    """A state space in coordinates that turn by angles which are read from the token.

        z, u, B, C, Δ, a, λ, φ = W_in x;  Δ = softplus(Δ + b);  a = max(softplus(a), 1e-4);  λ = sigmoid(λ)
        θ_t = θ_{t-1} + π Δ_t tanh(φ_t)            B, C = rot_θ(rms norm(B) + b_B), rot_θ(rms norm(C) + b_C)
        S_t = exp(-a_t Δ_t) (S_{t-1} + (1 - λ_t) Δ_t B_{t-1} u_{t-1}^T) + λ_t Δ_t B_t u_t^T
        write_t = W_out [ (S_t^T C_t + D u_t) * silu(z_t) ]

    S: n rows for each of the expand * d / heads channels of a head; Δ, a, λ: step size, rate of decay and weight of the
    trapezoidal rule, a head; φ: how fast the first channels of B and C turn, in pairs; D: a skip connection a head. The
    rule writes a token once now and once with the next, a convolution over two tokens, so there is no other. A decay
    that turns is a complex one, which counts modulo what the angle says.

    With rank R > 1 a token has R keys B and queries C, and R values and gates: u and z times learned factors a head,
    rank and channel. The state takes the sum of R products, and what is read by R queries, each with its gate, is
    summed by learned factors.

    Options:
        heads: they divide expand * dim.
        rank: inputs and outputs R a token and head, at most state_size.
        state_size: rows n of a head's state.
        expand: channels of the state space a channel of the stream.
        rotated: the part of the rows that turns, from 0 to 1.

    Cost: time ``3 * expand * t * d**2`` for the projections, and ``R**2`` times what Mamba-2 needs for the pairs of
    tokens. State: ``expand * d * (n + R)`` numbers, and the last B and the angles of each head.

    Raises:
        ValueError: heads that do not divide expand * dim, other options that are out of their range.

    Source: Lahoti et al. 2026, arXiv:2603.15569.
    """

    paper: ClassVar[str] = "Lahoti et al. 2026, arXiv:2603.15569"
    no_decay: ClassVar[frozenset[str]] = frozenset({"key_bias", "query_bias", "expand_value", "expand_gate", "combine"})

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        rank: int = 1,
        state_size: int = 64,
        expand: int = 2,
        rotated: float = 0.5,
    ) -> None:
        super().__init__()
        for name, value in {"state_size": state_size, "expand": expand}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        if not 1 <= rank <= state_size:
            raise ValueError(f"rank must be from 1 to state_size={state_size}, not {rank}")
        if not 0 <= rotated <= 1:
            raise ValueError(f"rotated must be from 0 to 1, not {rotated}")
        width, angles = expand * dim, int(state_size * rotated) // 2
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width of the state space: with width={width}, not {heads}")
        self.heads, self.rank, self.size, self.state_size = heads, rank, width // heads, state_size
        self.widths = [width, width, rank * state_size, rank * state_size, heads, heads, heads, angles]
        self.project_in = nn.Linear(dim, sum(self.widths), bias=False)
        self.step_bias = nn.Parameter(torch.empty(heads))
        self.key_norm, self.query_norm = GroupedNorm(state_size), GroupedNorm(state_size)
        self.key_bias = nn.Parameter(torch.empty(heads, rank, state_size))
        self.query_bias = nn.Parameter(torch.empty(heads, rank, state_size))
        factors = (heads, rank, self.size)
        self.expand_value = nn.Parameter(torch.empty(factors)) if rank > 1 else None
        self.expand_gate = nn.Parameter(torch.empty(factors)) if rank > 1 else None
        self.combine = nn.Parameter(torch.empty(factors)) if rank > 1 else None
        self.skip = nn.Parameter(torch.empty(heads))
        self.project_out = nn.Linear(width, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with step sizes from 0.001 to 0.1, biases and skip connections of 1, and ranks that are averaged."""
        draw_step_bias(self.step_bias)
        for ones in (self.key_bias, self.query_bias, self.skip, self.expand_gate):
            if ones is not None:
                nn.init.ones_(ones)
        for share in (self.expand_value, self.combine):
            if share is not None:
                nn.init.constant_(share, 1 / self.rank)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds angles ``(b, h, a)``, S ``(b, h, n, v)``, the last keys and values."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: State | None, documents: Tensor | None) -> tuple[Tensor, State]:
        gate, value, key, query, *gates, turn = self.project_in(x).split(self.widths, dim=-1)
        step, log_decay, blend = self._gates(*gates)
        value, gate = self._ranks(value, self.expand_value), self._ranks(gate, self.expand_gate)
        y, following = mamba3(
            self._rows(query, self.query_norm, self.query_bias),
            self._rows(key, self.key_norm, self.key_bias),
            value,
            log_decay=log_decay,
            step=step,
            blend=blend,
            turn=turn[:, :, None].expand(-1, -1, self.heads, -1),
            state=None if state is None else tuple(state[name] for name in NAMES),
            documents=documents,
        )
        y = (y + self.skip[:, None, None] * value) * silu(gate)
        y = y if self.combine is None else y * self.combine
        out = self.project_out(y.sum(3).flatten(2).to(x.dtype))
        return out, dict(zip(NAMES, following, strict=True))

    def _gates(self, step: Tensor, rate: Tensor, blend: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes, log decays, and the weights of the trapezoidal rule, ``(b, t, h)`` each."""
        step = softplus(at_least_float32(step) + self.step_bias)
        return step, -softplus(at_least_float32(rate)).clamp_min(SLOWEST) * step, at_least_float32(blend).sigmoid()

    def _rows(self, x: Tensor, norm: nn.Module, bias: Tensor) -> Tensor:
        """Keys or queries of all heads, ``(b, t, h, r, n)``: they share what is read, and differ by a bias."""
        return norm(x.unflatten(-1, (self.rank, self.state_size)))[:, :, None] + bias

    def _ranks(self, x: Tensor, factors: Tensor | None) -> Tensor:
        """Values or gates, ``(b, t, h, r, v)``."""
        by_head = x.unflatten(-1, (self.heads, 1, self.size))
        return by_head if factors is None else by_head * factors

    def panels(self, x: Tensor) -> list[Panel]:
        """What each head keeps of its state."""
        gates = self.project_in(x[:1]).split(self.widths, dim=-1)[4:7]
        return [decay_panel(self._gates(*gates)[1].exp(), of="head")]
