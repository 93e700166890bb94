"""A short depthwise convolution with its weights."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.ops.shortconv import shortconv

TAPS = 8
"""A short convolution has no more: each is a pass over the sequence."""


class ShortConv(nn.Module):
    """Sums each channel's last inputs, each by the learned weight of its lag; see `mixers.ops.shortconv`.

    Args:
        dim: channels.
        kernel_size: taps, the token's own included.
        bias: add a learned constant a channel.

    Raises:
        ValueError: more than 8 taps, or less than one.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"weight"})

    def __init__(self, dim: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__()
        if not 1 <= kernel_size <= TAPS:
            raise ValueError(f"kernel_size must be from 1 to {TAPS}, not {kernel_size}")
        self.weight = nn.Parameter(torch.empty(dim, kernel_size))
        self.bias = nn.Parameter(torch.empty(dim)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as torch's convolutions do: uniform, up to ``kernel_size**-0.5``."""
        bound = self.weight.shape[1] ** -0.5
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self, x: Tensor, state: Tensor | None = None, *, documents: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve ``(b, t, d)``; the state is the last inputs, ``(b, kernel_size - 1, d)``."""
        return shortconv(x, self.weight, self.bias, state, documents=documents)
