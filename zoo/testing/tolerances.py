"""How far results may lie apart that exact arithmetic makes equal: one table for the whole zoo."""

from collections.abc import Mapping

import torch
from torch import Tensor

TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float64: 1e-9,
    torch.float32: 5e-5,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}
"""By dtype: the largest difference, as a part of the largest expected value, or of 1 where that is smaller."""


def bound(expected: Tensor) -> float:
    """The largest difference from `expected` that counts as rounding."""
    largest = float(expected.detach().abs().max()) if expected.numel() else 0.0
    return TOLERANCES[expected.dtype] * max(1.0, largest)


FINITE_DIFFERENCE = 1e-4
"""How far a slope may lie from its central difference in float64, as a part of it, or of 1 where that is smaller."""

HALF_GRADIENT = 0.3
"""How far a gradient in half precision may lie from that in float64, as a part of its norm."""

STRAY = 0.25
"""The part of all writes that half precision may throw off entirely: close choices between experts fall otherwise."""
