"""Rows cut into mini-batches, which in a row that continues begin where its own tokens so far say."""

from typing import NamedTuple

import torch
from torch import Tensor


class MiniBatches(NamedTuple):
    """Where the tokens of rows lie in their mini-batches, of which the first and the last may hold few.

    Args:
        phase: how many tokens of its mini-batch a row has seen before, ``(b,)``, int64.
        size: tokens a mini-batch, c.
        time: tokens, t.
        number: mini-batches, n: as many as any phase needs.
    """

    phase: Tensor
    size: int
    time: int
    number: int

    @classmethod
    def of(cls, phase: Tensor | None, x: Tensor, size: int) -> "MiniBatches":
        """Those of ``x``, ``(b, t, ...)``; without a phase, all rows begin one."""
        t = x.shape[1]
        if phase is None:
            return cls(torch.zeros(x.shape[0], dtype=torch.int64, device=x.device), size, t, -(-t // size))
        return cls(phase, size, t, (t + size - 2) // size + 1)

    def cut(self, x: Tensor) -> Tensor:
        """``(b, t, h, ...)`` to ``(n, b, h, c, ...)``, zero where a mini-batch has no token."""
        slot = torch.arange(self.number * self.size, device=x.device) - self.phase[:, None]
        empty = _like((slot < 0) | (slot >= self.time), x)
        slots = x.gather(1, _like(slot.clamp(0, self.time - 1), x).expand(-1, -1, *x.shape[2:])).masked_fill(empty, 0)
        batches: Tensor = slots.unflatten(1, (self.number, self.size)).movedim(1, 0).movedim(3, 2)
        return batches.contiguous()

    def join(self, x: Tensor) -> Tensor:
        """The way back, ``(n, b, h, c, ...)`` to ``(b, t, h, ...)``."""
        slots = x.movedim(2, 3).movedim(0, 1).flatten(1, 2)
        slot = self.phase[:, None] + torch.arange(self.time, device=x.device)
        return slots.gather(1, _like(slot, slots).expand(-1, -1, *slots.shape[2:]))

    def filled(self) -> Tensor:
        """Which slots hold a token, ``(n, b, 1, c, 1)``, bool."""
        slot = torch.arange(self.number * self.size, device=self.phase.device) - self.phase[:, None]
        filled = ((slot >= 0) & (slot < self.time)).unflatten(1, (self.number, self.size))
        return filled.transpose(0, 1)[:, :, None, :, None]

    def complete(self) -> Tensor:
        """Which mini-batches end within these tokens, ``(n, b, 1, 1, 1)``, bool."""
        ends = self.size * torch.arange(1, self.number + 1, device=self.phase.device)
        return (ends[:, None] <= self.phase + self.time)[..., None, None, None]

    def next_phase(self) -> Tensor:
        """The phase behind the last token, ``(b,)``."""
        return (self.phase + self.time) % self.size


def _like(x: Tensor, other: Tensor) -> Tensor:
    """``(b, t)`` with an axis of 1 for each further axis of the other tensor."""
    return x.reshape(*x.shape, *[1] * (other.ndim - 2))
