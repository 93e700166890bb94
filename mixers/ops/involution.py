"""Involution along time: every position sums its neighbours under a kernel of its own."""

from typing import Any

import torch
from torch import Tensor


def involution(values: Tensor, kernel: Tensor, dilation: int = 1) -> Tensor:
    """Sum each position's value and the ones before it under that position's kernel.

        y[t, g, c] = sum_l kernel[t, g, l] * value[t - dilation * l, g, c]

    Shifted multiply-adds with their own backward pass: it keeps nothing but its two inputs, and costs half of what
    autograd's costs.

    Args:
        values: ``(b, p + t, g, c)``; the first p = (l - 1) * dilation of them lie before the first position.
        kernel: the taps of each position and group, nearest first, ``(b, t, g, l)``.
        dilation: positions from one tap to the next.

    Returns:
        The sums, ``(b, t, g, c)``.
    """
    written: Tensor = _Involution.apply(values, kernel, dilation)
    return written


def involution_reference(values: Tensor, kernel: Tensor, dilation: int = 1) -> Tensor:
    """The same as `involution`, one position and tap at a time."""
    time, taps = kernel.shape[1], kernel.shape[-1]
    rows = []
    for t in range(time):
        now = t + (taps - 1) * dilation
        row = torch.zeros_like(values[:, now])
        for tap in range(taps):
            row = row + kernel[:, t, :, tap, None] * values[:, now - tap * dilation]
        rows.append(row)
    return torch.stack(rows, dim=1)


class _Involution(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor, kernel: Tensor, dilation: int) -> Tensor:
        taps = kernel.shape[-1]
        written = values[:, _seen_by(0, kernel, dilation)] * kernel[..., :1]
        for tap in range(1, taps):
            written.addcmul_(values[:, _seen_by(tap, kernel, dilation)], kernel[..., tap : tap + 1])
        return written

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], _output: Tensor) -> None:
        values, kernel, dilation = inputs
        ctx.save_for_backward(values, kernel)
        ctx.dilation = dilation

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        values, kernel = ctx.saved_tensors
        grad_values, grad_taps = torch.zeros_like(values), []
        for tap in range(kernel.shape[-1]):
            seen = _seen_by(tap, kernel, ctx.dilation)
            grad_values[:, seen].addcmul_(grad, kernel[..., tap : tap + 1])
            grad_taps.append((grad * values[:, seen]).sum(-1))
        return grad_values, torch.stack(grad_taps, dim=-1), None


def _seen_by(tap: int, kernel: Tensor, dilation: int) -> slice:
    """Which of the values, in order of the positions, lie under one tap."""
    first = (kernel.shape[-1] - 1 - tap) * dilation
    return slice(first, first + kernel.shape[1])
