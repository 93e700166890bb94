"""How mixers with a memory a head write to the stream: normalised, gated, projected."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from mixers.ops.activations import at_least_float32

EPSILON = 1e-6
"""Added to the mean square of a head."""


class NormedHeads(nn.Module):
    """What the heads read, as a write: ``W_out [ rmsnorm(y) * gain * activation(gate(x)) ]``.

    The norm comes before the gate, is one of each head by itself, and has a gain that the heads share.

    Args:
        dim: model width.
        heads: heads.
        size: channels v a head.
        gate: from the reads, ``(b, t, d)``, to what the gate is made of, ``(b, t, h * v)``; None for no gate.
        activation: of the gate.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        size: int,
        gate: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] = silu,
    ) -> None:
        super().__init__()
        self.gate, self.activation, self.epsilon = gate, activation, EPSILON
        self.gain = nn.Parameter(torch.empty(size))
        self.project = nn.Linear(heads * size, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with a gain of 1."""
        nn.init.ones_(self.gain)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """Write what the heads read, ``(b, t, h, v)``, gated by the reads, ``(b, t, d)``."""
        normed = rms_norm(at_least_float32(y), self.gain.shape, eps=self.epsilon) * self.gain
        heads = normed.to(y.dtype).flatten(2)
        return self.project(heads if self.gate is None else heads * self.activation(self.gate(x)))


def low_rank(dim: int, rank: int, width: int) -> nn.Sequential:
    """A projection through few channels."""
    return nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, width, bias=False))
