"""What operations that torch's `FlopCounterMode` does not know cost, for whoever counts a call of these operators."""

from collections.abc import Sequence
from math import log2, prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula

aten = torch.ops.aten


def triangular_solve_flops(
    triangle: Sequence[int], _right: Sequence[int], *, out_shape: Sequence[int], **_: Any
) -> int:
    """Half of a c×c matrix meets each column, a multiply-add as 2: c² for a column."""
    return triangle[-1] * prod(out_shape)


def cholesky_flops(matrix: Sequence[int], *_: Any, **__: Any) -> int:
    """A sixth of k³ multiply-adds, each as 2."""
    return prod(matrix) * matrix[-1] // 3


def _fourier_of_real(x: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    """Half of a complex transform's 5 n log2 n."""
    return _transforms(prod(x), prod(x[dim] for dim in dims)) // 2


def _fourier_to_real(spectrum: Sequence[int], dims: Sequence[int], _norm: int, length: int, **__: Any) -> int:
    return _transforms(prod(spectrum) // spectrum[dims[-1]] * length, length) // 2


def _fourier(x: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    return _transforms(prod(x), prod(x[dim] for dim in dims))


def _transforms(numbers: int, length: int) -> int:
    return int(5 * numbers * log2(length)) if length > 1 else 0


# The registry is the process's own: a formula that someone registered earlier stays.
for _operator, _formula in (
    (aten.linalg_solve_triangular, triangular_solve_flops),
    (aten.linalg_cholesky_ex, cholesky_flops),
    (aten._fft_r2c, _fourier_of_real),
    (aten._fft_c2r, _fourier_to_real),
    (aten._fft_c2c, _fourier),
):
    if _operator not in flop_registry:
        register_flop_formula(_operator)(_formula)
