"""Vectors scaled to one length, so that what is erased along a key is a share of what it held."""

import torch
from torch import Tensor

from mixers.ops.activations import at_least_float32


def unit_length(x: Tensor, *, length: float = 1.0, epsilon: float = 1e-6) -> Tensor:
    """Scale vectors to a length, ``length * x / sqrt(|x|^2 + epsilon)``, in float32 at least.

    Args:
        x: ``(..., k)``.
        length: what `epsilon` falls short of; ``k**-0.5`` for queries saves the operation that scales them.
        epsilon: keeps the gradient finite at zero.
    """
    wide = at_least_float32(x)
    return wide * (length * torch.rsqrt(wide.square().sum(-1, keepdim=True) + epsilon))
