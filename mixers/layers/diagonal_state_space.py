"""The diagonal state space of S4D with its parameters."""

from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.float32 import KeepsFloat32
from mixers.ops.activations import at_least_float32
from mixers.ops.diagonal_ssm import diagonal_ssm, ssm_kernel
from mixers.ops.longconv import longconv

SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e-1
"""Between these lie the step sizes at the start, drawn log-uniformly."""


class DiagonalStateSpace(KeepsFloat32):
    """A state space a channel, the same at every token, discretised with a step size of its own.

        h' = A h + x,  A_n = -exp(log_rate_n) + i frequency_n        y = 2 Re sum_n C_n h_n + D x

    With zero-order hold: a state decays by ``e^{s A}`` a token, and takes in ``(e^{s A} - 1) / A`` of it.

    Args:
        dim: channels.
        state_size: numbers a channel, an even number: complex states count twice.

    Raises:
        ValueError: a state_size that is odd or below 2.

    Source: Gu et al. 2022, arXiv:2206.11893, "S4D-Lin".
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"log_rate", "frequency", "weight"})
    # All of these are multiplied by the lag: after a hundred tokens their rounding would turn a state elsewhere.
    in_float32: ClassVar[frozenset[str]] = frozenset({"log_step", "log_rate", "frequency"})

    def __init__(self, dim: int, state_size: int) -> None:
        super().__init__()
        if state_size < 2 or state_size % 2:
            raise ValueError(f"state_size must be an even number from 2 on, for states are complex: not {state_size}")
        states = state_size // 2
        self.log_step = nn.Parameter(torch.empty(dim))
        self.log_rate = nn.Parameter(torch.empty(dim, states))
        self.frequency = nn.Parameter(torch.empty(dim, states))
        self.weight = nn.Parameter(torch.empty(dim, states, 2))
        self.skip = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with rates of 1/2 and the frequencies of a Fourier series, drawn step sizes and weights."""
        nn.init.uniform_(self.log_step, log(SMALLEST_STEP), log(LARGEST_STEP))
        nn.init.constant_(self.log_rate, log(0.5))
        with torch.no_grad():
            self.frequency.copy_(pi * torch.arange(self.frequency.shape[1], device=self.frequency.device))
        nn.init.normal_(self.weight, std=0.5**0.5)
        nn.init.normal_(self.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Map whole sequences, ``(b, t, d)`` to ``(b, t, d)``, as a convolution."""
        return longconv(x, self.kernel(x.shape[1]), self.skip)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map the next inputs; the state is real and imaginary parts, ``(b, d, state_size / 2, 2)``."""
        y, state = diagonal_ssm(x, *self._discrete(), state)
        return y + self.skip * x, state

    def kernel(self, length: int) -> Tensor:
        """The weight of each lag below `length`, ``(d, length)``."""
        return ssm_kernel(*self._discrete(), length)

    def _discrete(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log decays, angles, and the weights by which the states are read."""
        rate = torch.complex(-at_least_float32(self.log_rate).exp(), at_least_float32(self.frequency))
        exponent = at_least_float32(self.log_step).exp()[:, None] * rate
        weight = torch.view_as_complex(at_least_float32(self.weight)) * torch.expm1(exponent) / rate
        return exponent.real, exponent.imag, weight
