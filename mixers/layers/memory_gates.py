"""What a token decides about a head's memory: how much of it stays, and how much it erases."""

from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.ops.activations import at_least_float32
from mixers.ops.gates import bounded_decay, softplus_decay

SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1
"""The softplus of the bias lies between these at the start, log-uniformly: memories that are long, and short."""

FASTEST = 16.0
"""The largest rate at the start."""


class DecayGate(nn.Module):
    """The log decay of a head's memory, or of each of its key channels.

        g = -exp(A) softplus(W x + bias)        with a floor:  g = floor * sigmoid(exp(A) (W x + bias))

    Args:
        project: W, from the reads to ``heads * channels``.
        heads: heads.
        channels: key channels a head; None for one decay a head.
        slowest: the smallest rate exp(A) at the start without a floor, where it is drawn uniformly up to 16.
        floor: the least log decay; None for no limit.

    Raises:
        ValueError: a floor that is 0 or more.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"bias"})

    def __init__(
        self,
        project: nn.Module,
        heads: int,
        channels: int | None = None,
        *,
        slowest: float = 0.01,
        floor: float | None = None,
    ) -> None:
        super().__init__()
        if floor is not None and floor >= 0:
            raise ValueError(f"floor must be below 0, not {floor}: it is the least log decay; None sets no limit")
        self.project, self.slowest, self.floor = project, slowest, floor
        self.log_rate = nn.Parameter(torch.empty(heads))
        self.bias = nn.Parameter(torch.empty(heads) if channels is None else torch.empty(heads, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw rates (with a floor they are 1), and biases whose softplus lies between 0.001 and 0.1."""
        with torch.no_grad():
            if self.floor is None:
                self.log_rate.uniform_(self.slowest, FASTEST).log_()
            else:
                self.log_rate.zero_()
            step = self.bias.uniform_(log(SHORTEST_STEP), log(LONGEST_STEP)).exp_()
            step.expm1_().log_()  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """Return log decays below 0, ``(b, t, h)`` or ``(b, t, h, k)``, in float32 at least."""
        asked = at_least_float32(self.project(x))
        if self.bias.ndim > 1:
            asked = asked.unflatten(-1, self.bias.shape)
        if self.floor is None:
            return softplus_decay(asked, self.log_rate, self.bias)
        return bounded_decay(asked, self.log_rate, self.bias, self.floor)


class EraseGate(nn.Module):
    """How much a token erases, ``sigmoid(W x)``, or twice that, in float32 at least.

    Args:
        dim: model width.
        width: numbers a token.
        negative: up to 2. What is erased twice is reflected: the state has negative eigenvalues, with which it can
            count modulo 2.
    """

    def __init__(self, dim: int, width: int, *, negative: bool) -> None:
        super().__init__()
        self.project = nn.Linear(dim, width, bias=False)
        self.largest = 2 if negative else 1

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(b, t, width)``."""
        return self.largest * at_least_float32(self.project(x)).sigmoid()
