"""How a broken law is found in two tensors and reported."""

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.testing.tolerances import bound


class LawViolation(AssertionError):  # noqa: N818 - a test fails by it, nothing is in error
    """A mixer breaks a law. The text is one line that says what was seen."""


class NotApplicable(Exception):  # noqa: N818 - nothing is in error
    """A law has nothing to say about this case. The text is the reason."""


class Difference(NamedTuple):
    """The first place in time where two results differ by more than rounding."""

    row: int
    time: int
    size: float

    def __str__(self) -> str:
        return f"|Δ| = {self.size:.2g}{rounding_hint(self.size)}"


SINGLE = 1e-5
"""What float32 loses to rounding is smaller than this, a little more for long sums."""


def rounding_hint(size: float) -> str:
    """What else a difference this small in float64 may be."""
    hint = "; so little may be rounding: compute in torch.promote_types(x.dtype, torch.float32), not in float32"
    return hint if 0 < size < SINGLE else ""


def first_difference(actual: Tensor, expected: Tensor) -> Difference | None:
    """Where two results of shape ``(b, t, ...)`` first differ by more than rounding, or None.

    A number that is not finite differs from everything.

    Raises:
        LawViolation: not even the shapes are the same.
    """
    if actual.shape != expected.shape:
        raise LawViolation(f"expected writes of shape {tuple(expected.shape)}, got {tuple(actual.shape)}")
    apart = (actual - expected).abs().nan_to_num(nan=torch.inf).reshape(*expected.shape[:2], -1)
    beyond = apart > bound(expected.nan_to_num())
    if not beyond.any():
        return None
    time = int(beyond.any(-1).any(0).int().argmax())
    by_row = apart[:, time].amax(-1)
    return Difference(int(by_row.argmax()), time, float(by_row.max()))


def apart(actual: Tensor, expected: Tensor) -> float | None:
    """By how much two tensors of any one shape differ, if that is more than rounding."""
    if not actual.numel():
        return None
    size = float((actual - expected).abs().nan_to_num(nan=torch.inf).max())
    return size if size > bound(expected.nan_to_num()) else None
