"""Mamba-2, a state space with one decay a head, which is linear attention with a decay."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from mixers.layers.grouped_norm import GroupedNorm
from mixers.layers.short_conv import ShortConv
from mixers.layers.state_panel import decay_panel
from mixers.layers.steps import draw_step_bias
from mixers.ops.activations import at_least_float32
from mixers.ops.decay import decay
from zoo import Panel, State, TokenMixer


class Mamba2(TokenMixer):
    """A state space whose step size is read from the token, with one rate of decay a head.

        z, (u, B, C), Δ = W_in x;  u, B, C = silu(conv(u, B, C));  Δ = softplus(Δ + b)
        S_t = exp(-a Δ_t) S_{t-1} + B_t (Δ_t u_t)^T        y_t = S_t^T C_t + D u_t
        write_t = W_out [ rms norm(y_t * silu(z_t)) ]

    S: n rows for each of the expand * d / heads channels of a head; a, D: a rate of decay and a skip connection a head.
    B and C, the key and the query of linear attention, are shared by the heads of a group. The norm is that of a group
    too, and comes behind the gate: what the gate shuts in all channels of a group it opens again.

    Options:
        heads: they divide expand * dim.
        groups: of heads that share B and C; they divide heads.
        state_size: rows n of a head's state.
        expand: channels of the state space a channel of the stream.
        kernel_size: taps of the convolution, up to 8.

    Cost: time ``3 * expand * t * d**2`` for the projections, and ``t * expand * d * (2 n + 64)`` for the state and the
    pairs of tokens within chunks of 64. State: ``expand * d * n`` numbers, and the last inputs of the convolution,
    ``(kernel_size - 1) * (expand * d + 2 * groups * n)``.

    Raises:
        ValueError: heads that do not divide expand * dim, groups that do not divide heads, other options that are out
            of their range.

    Source: Dao & Gu 2024, arXiv:2405.21060.
    """

    paper: ClassVar[str] = "Dao & Gu 2024, arXiv:2405.21060"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        groups: int = 1,
        state_size: int = 64,
        expand: int = 2,
        kernel_size: int = 4,
    ) -> None:
        super().__init__()
        for name, value in {"state_size": state_size, "expand": expand}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        width = expand * dim
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width of the state space: with width={width}, not {heads}")
        if groups < 1 or heads % groups:
            raise ValueError(f"groups must divide heads: with heads={heads}, not {groups}")
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.widths = [width, groups * state_size, groups * state_size]
        self.project_in = nn.Linear(dim, width + sum(self.widths) + heads, bias=False)
        self.convolution = ShortConv(sum(self.widths), kernel_size)
        self.step_bias = nn.Parameter(torch.empty(heads))
        self.log_rate = nn.Parameter(torch.empty(heads))
        self.skip = nn.Parameter(torch.empty(heads))
        self.norm = GroupedNorm(width, groups)
        self.project_out = nn.Linear(width, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with rates from 1 to 16, skip connections of 1, and step sizes from 0.001 to 0.1."""
        draw_step_bias(self.step_bias)
        nn.init.ones_(self.skip)
        with torch.no_grad():
            self.log_rate.uniform_(1, 16).log_()

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds S, ``(b, h, n, v)``, and the last inputs of the convolution."""
        return self._mix(x, {} if state is None else state, None)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        gate, inputs, step = self._split(self.project_in(x))
        inputs, convolution = self.convolution(inputs, past.get("convolution"), documents=documents)
        value, key, query = silu(inputs).split(self.widths, dim=-1)
        value = value.unflatten(-1, (self.heads, self.size))
        y, matrix = decay(
            self._by_head(query),
            self._by_head(key),
            value * step[..., None],
            self._log_decay(step),
            past.get("matrix"),
            documents=documents,
        )
        y = (y + self.skip[:, None] * value).flatten(2)
        out = self.project_out(self.norm(y * silu(gate)).to(gate.dtype))
        return out, {"matrix": matrix, "convolution": convolution}

    def _split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gate, the inputs of the convolution, and step sizes ``(b, t, h)``."""
        gate, inputs, step = projected.split([self.widths[0], sum(self.widths), self.heads], dim=-1)
        return gate, inputs, softplus(at_least_float32(step) + self.step_bias)

    def _log_decay(self, step: Tensor) -> Tensor:
        return -at_least_float32(self.log_rate).exp() * step

    def _by_head(self, shared: Tensor) -> Tensor:
        """Keys or queries of groups, ``(b, t, g * n)``, for each of their heads, ``(b, t, h, n)``."""
        return shared.unflatten(-1, (self.groups, -1)).repeat_interleave(self.heads // self.groups, dim=2)

    def panels(self, x: Tensor) -> list[Panel]:
        """What each head keeps of its state."""
        return [decay_panel(self._log_decay(self._split(self.project_in(x[:1]))[2]).exp(), of="head")]
