"""Elementwise functions of recurrent networks, and the precision that they need."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """The same numbers in float32 where they are narrower: a decay near 1 is 1 in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def positive(x: Tensor) -> Tensor:
    """A function that is always above zero: ``x + 1/2`` from zero on, the sigmoid below.

    Source: Feng et al. 2024, arXiv:2410.01201.
    """
    return torch.where(x >= 0, x + 0.5, x.sigmoid())
