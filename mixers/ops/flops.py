"""What operations that torch's `FlopCounterMode` does not know cost, for whoever counts a call of these operators."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula

SOLVE = torch.ops.aten.linalg_solve_triangular


def triangular_solve_flops(
    triangle: Sequence[int], _right: Sequence[int], *, out_shape: Sequence[int], **_: Any
) -> int:
    """Half of a c×c matrix meets each column, a multiply-add as 2: c² for a column."""
    return triangle[-1] * prod(out_shape)


# The registry is the process's own: a formula that someone registered earlier stays.
if SOLVE not in flop_registry:
    register_flop_formula(SOLVE)(triangular_solve_flops)
