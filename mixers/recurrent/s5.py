"""S5, one diagonal state space for all channels, run as a scan."""

from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from mixers.layers.float32 import KeepsFloat32
from mixers.ops.activations import at_least_float32
from mixers.ops.scan import scan
from zoo import Panel, TokenMixer

SMALLEST_STEP, LARGEST_STEP = 1e-3, 1e-1
"""Between these lie the step sizes at the start, drawn log-uniformly."""


class S5(KeepsFloat32, TokenMixer):
    """A linear state space that all channels share, the same at every token.

        h_t = e^{s A} h_{t-1} + (e^{s A} - 1) / A * B x_t        y_t = 2 Re(C h_t) + D x_t
        write_t = g_t * sigmoid(W g_t + bias)                    g_t = gelu(y_t)

    h: n / 2 complex states, each one of a conjugate pair, with a rate A and a step size s of its own; B, C: complex
    matrices from all channels and to all channels; D: a skip connection a channel. It starts as the normal part of
    HiPPO-LegS, the state space that keeps a signal's Legendre coefficients, in the basis of its eigenvectors.

    Options:
        state_size: n, an even number.

    Cost: time ``t * d * (2 n + d)``, linear in t. State: n numbers, which is little: all channels share it. What is
    kept and for how long does not depend on the tokens: it cannot choose what to recall.

    Raises:
        ValueError: a state_size that is odd or below 2.

    Source: Smith et al. 2022, "Simplified State Space Layers for Sequence Modeling", arXiv:2208.04933.
    """

    paper: ClassVar[str] = "Smith et al. 2022, arXiv:2208.04933"
    no_decay: ClassVar[frozenset[str]] = frozenset({"input", "output"})
    # All of these are multiplied by the lag: after a hundred tokens their rounding would turn a state elsewhere.
    in_float32: ClassVar[frozenset[str]] = frozenset({"log_step", "log_rate", "frequency"})

    def __init__(self, dim: int, *, state_size: int = 64) -> None:
        super().__init__()
        if state_size < 2 or state_size % 2:
            raise ValueError(f"state_size must be an even number from 2 on, for states are complex: not {state_size}")
        states = state_size // 2
        self.log_step = nn.Parameter(torch.empty(states))
        self.log_rate = nn.Parameter(torch.empty(states))
        self.frequency = nn.Parameter(torch.empty(states))
        self.input = nn.Parameter(torch.empty(states, dim, 2))
        self.output = nn.Parameter(torch.empty(dim, states, 2))
        self.skip = nn.Parameter(torch.empty(dim))
        self.gate = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the normal part of HiPPO-LegS, with drawn step sizes, input and output."""
        states, dim, _ = self.input.shape
        nn.init.uniform_(self.log_step, log(SMALLEST_STEP), log(LARGEST_STEP))
        nn.init.constant_(self.log_rate, log(0.5))
        nn.init.normal_(self.skip)
        frequency, vectors = _hippo(2 * states)
        basis = vectors.to(self.input.device, torch.promote_types(self.input.dtype, torch.complex64))
        drawn = torch.randn(2 * states, dim, device=self.input.device) * dim**-0.5
        weights = torch.randn(dim, 2 * states, device=self.input.device) * (2 * states) ** -0.5
        with torch.no_grad():
            self.frequency.copy_(frequency)
            self.input.copy_(torch.view_as_real(basis.mH.resolve_conj() @ drawn.to(basis.dtype)))
            self.output.copy_(torch.view_as_real(weights.to(basis.dtype) @ basis))

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the next reads; the state is the real and imaginary parts of h, ``(b, n / 2, 2)``."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        decay, scale = self._discrete()
        # Products with a real operand: complex ones would cost twice as much for the same numbers.
        added = at_least_float32(x @ self.input.permute(1, 0, 2).flatten(1))
        added = scale * torch.view_as_complex(added.unflatten(-1, (-1, 2)).contiguous())
        before = None if state is None else torch.view_as_complex(state.contiguous())
        h, last = scan(decay, added, before, documents=documents)
        conjugate = torch.stack([self.output[..., 0], -self.output[..., 1]], dim=-1).flatten(1)
        read = torch.view_as_real(h).flatten(2).to(x.dtype) @ conjugate.t().to(x.dtype)
        y = gelu(2 * read + self.skip * x)
        return y * self.gate(y).sigmoid(), torch.view_as_real(last)

    def _discrete(self) -> tuple[Tensor, Tensor]:
        """The states' decays, and how much of their inputs they take in: zero-order hold."""
        rate = torch.complex(-at_least_float32(self.log_rate).exp(), at_least_float32(self.frequency))
        exponent = at_least_float32(self.log_step).exp() * rate
        return exponent.exp(), torch.expm1(exponent) / rate

    def panels(self, x: Tensor) -> list[Panel]:  # noqa: ARG002 - the states are the same for all reads
        """How long the states last, and how fast they turn."""
        step = self.log_step.exp()
        tokens = torch.stack([1 / (step * self.log_rate.exp()), 2 * torch.pi / (step * self.frequency).abs()])
        order = tokens[0].argsort()
        reading = (
            "A bar is a state, in the same order in both maps: the tokens until 1/e of it is left, and in one turn."
        )
        axes = ("measure", "state")
        return [Panel("time scales of the states", reading, tokens[:, order].log10(), "log10 of tokens", axes)]


def _hippo(size: int) -> tuple[Tensor, Tensor]:
    """Frequencies and eigenvectors of the normal part of HiPPO-LegS, one of each conjugate pair.

    The matrix is -1/2 on the diagonal and skew-symmetric beside it, so that i times the rest is Hermitian.
    """
    root = torch.arange(size, device="cpu", dtype=torch.float64).add(0.5).sqrt()
    lower = torch.outer(root, root).tril(-1)
    frequency, vectors = torch.linalg.eigh(1j * (lower - lower.t()))
    return frequency[size // 2 :], vectors[:, size // 2 :]
