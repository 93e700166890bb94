"""How a broken law is found in two tensors and told to a person."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.testing.tolerances import bound


class LawViolation(AssertionError):  # noqa: N818 - a test fails by it, nothing is in error
    """A mixer breaks a law.

    Args:
        law: the id of the law.
        text: what was seen, in one line.
    """

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law


class Difference(NamedTuple):
    """The first place in time where two results differ by more than rounding."""

    row: int
    time: int
    size: float

    def __str__(self) -> str:
        return f"|Δ| = {self.size:.2g}"


def first_difference(actual: Tensor, expected: Tensor, law: str) -> Difference | None:
    """Where two results of shape ``(b, t, ...)`` first differ by more than rounding, or None.

    A number that is not finite differs from everything.

    Raises:
        LawViolation: of `law`, if not even the shapes are the same.
    """
    if actual.shape != expected.shape:
        raise LawViolation(law, f"expected writes of shape {tuple(expected.shape)}, got {tuple(actual.shape)}")
    apart = (actual - expected).abs().nan_to_num(nan=torch.inf).flatten(2)
    beyond = apart > bound(expected.nan_to_num())
    if not beyond.any():
        return None
    time = int(beyond.any(-1).any(0).int().argmax())
    by_row = apart[:, time].amax(-1)
    return Difference(int(by_row.argmax()), time, float(by_row.max()))


def where(reads: Tensor, running: nn.Module) -> str:
    """The sizes and the mode in which a law was seen broken."""
    return f"(b={reads.shape[0]}, t={reads.shape[1]}{', in training mode' if running.training else ''})"
