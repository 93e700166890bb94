"""A projection of few parameters, within small blocks of channels."""

import torch
from torch import Tensor, nn


class BlockDiagonal(nn.Module):
    """A matrix a block of neighbouring channels, without a bias: ``width * size`` parameters.

    Args:
        width: channels.
        size: channels of a block, which divides the width.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width // size, size, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as torch's linear maps do: uniform, up to ``size**-0.5``."""
        bound = self.weight.shape[-1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(b, t, d)`` to the same."""
        blocks = x.unflatten(-1, self.weight.shape[:2])
        return torch.einsum("btni,nji->btnj", blocks, self.weight).flatten(-2)
