"""Mamba, a state space whose step size, input and output are read from the token."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from mixers.layers.short_conv import ShortConv
from mixers.layers.steps import draw_step_bias
from mixers.ops.activations import at_least_float32
from mixers.ops.selective_scan import selective_scan
from zoo import Panel, State, TokenMixer

SHOWN_CHANNELS, SHOWN_TOKENS = 64, 128
"""The step sizes of so many channels and tokens are shown."""


class Mamba1(TokenMixer):
    """A diagonal state space whose step size, input and output depend on the token.

        u, z = W_in x;  u = silu(conv(u))        low, B, C = W_u u;  Δ = softplus(W_Δ low + b)
        h_t = exp(Δ_t A) * h_{t-1} + (Δ_t * u_t) B_t        y_t = <C_t, h_t> + D * u_t
        write_t = W_out [ y_t * silu(z_t) ]

    A large step Δ_t takes the token in and forgets what was before; a small one passes over it. h: n states for each
    of expand * d channels; A: their rates of decay, below zero; B, C: how all channels write and read their states;
    D: a skip connection a channel. A is discretised exactly, B by a step of Euler.

    Options:
        state_size: states n a channel.
        expand: channels of the state space a channel of the stream.
        kernel_size: taps of the convolution, up to 8.
        rank: of the step size as a function of the token; None for dim / 16, rounded up.

    Cost: time ``3 * expand * t * d**2`` for the projections, and ``9 * t * expand * d * n`` for the scan, which keeps
    no more than a chunk of the states in memory. State: ``expand * d * (n + kernel_size - 1)`` numbers.

    Raises:
        ValueError: an option is out of its range.

    Source: Gu & Dao 2023, arXiv:2312.00752.
    """

    paper: ClassVar[str] = "Gu & Dao 2023, arXiv:2312.00752"
    no_decay: ClassVar[frozenset[str]] = frozenset({"log_rate"})

    def __init__(
        self, dim: int, *, state_size: int = 16, expand: int = 2, kernel_size: int = 4, rank: int | None = None
    ) -> None:
        super().__init__()
        rank = -(-dim // 16) if rank is None else rank
        for name, value in {"state_size": state_size, "expand": expand, "rank": rank}.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        width = expand * dim
        self.sizes = [rank, state_size, state_size]
        self.project_in = nn.Linear(dim, 2 * width, bias=False)
        self.convolution = ShortConv(width, kernel_size)
        self.project_state = nn.Linear(width, sum(self.sizes), bias=False)
        self.project_step = nn.Linear(rank, width)
        self.log_rate = nn.Parameter(torch.empty(width, state_size))
        self.skip = nn.Parameter(torch.empty(width))
        self.project_out = nn.Linear(width, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with rates 1 to n, skip connections of 1, and step sizes from 0.001 to 0.1."""
        with torch.no_grad():
            count = torch.arange(1, self.log_rate.shape[1] + 1, device=self.log_rate.device)
            self.log_rate.copy_(count.log().expand_as(self.log_rate))
            nn.init.ones_(self.skip)
            bound = self.project_step.in_features**-0.5
            nn.init.uniform_(self.project_step.weight, -bound, bound)
        draw_step_bias(self.project_step.bias)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds h, ``(b, expand * d, n)``, and the last inputs of the convolution."""
        return self._mix(x, {} if state is None else state, None)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        inputs, gate = self.project_in(x).chunk(2, dim=-1)
        inputs, convolution = self.convolution(inputs, past.get("convolution"), documents=documents)
        inputs = silu(inputs)
        step, write, read = self._selection(inputs)
        rate = -at_least_float32(self.log_rate).exp()
        y, h = selective_scan(inputs, step, rate, write, read, state=past.get("h"), documents=documents)
        y = torch.addcmul(y, inputs, self.skip.to(y.dtype))
        return self.project_out(y * silu(gate)), {"h": h, "convolution": convolution}

    def _selection(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes, ``(b, t, expand * d)``, and how states are written and read, ``(b, t, n)``."""
        low, write, read = self.project_state(inputs).split(self.sizes, dim=-1)
        return softplus(at_least_float32(self.project_step(low))), write, read

    def panels(self, x: Tensor) -> list[Panel]:
        """The step sizes."""
        inputs, _ = self.project_in(x[:1, :SHOWN_TOKENS]).chunk(2, dim=-1)
        step, _, _ = self._selection(silu(self.convolution(inputs)[0]))
        shown = step[0, :, :SHOWN_CHANNELS].t()
        title = f"step sizes in the first sequence, {shown.shape[0]} channels and {shown.shape[1]} tokens"
        reading = (
            "A column is a token: a large step takes it in and forgets what was before, a small one passes over it."
        )
        return [Panel(title, reading, shown, quantity="step size", axes=("channel", "token"))]
