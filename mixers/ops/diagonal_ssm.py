"""Diagonal state spaces that are the same at every token: a long convolution, or a recurrence."""

from math import pi

import torch
from torch import Tensor
from torch.nn.functional import pad

from mixers.ops.longconv import longconv


def diagonal_ssm(
    x: Tensor, log_decay: Tensor, angle: Tensor, weight: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run n complex states a channel, each one of a conjugate pair, and read their weighted sum.

        h_t = e^{w + i a} h_{t-1} + x_t        y_t = 2 Re sum_n c_n h_{t,n}

    The same as the convolution with `ssm_kernel`, which is how it is computed; what `state` adds decays by powers.
    Time ``t * d * n`` for kernel and states, and ``t log t`` for the convolution.

    Args:
        x: the inputs, ``(b, t, d)``.
        log_decay: w, zero or less, ``(d, n)``.
        angle: a, what a state turns by at each token, ``(d, n)``.
        weight: c, complex, ``(d, n)``.
        state: h before the first token, real and imaginary parts, ``(b, d, n, 2)``; None for zeros.

    Returns:
        All y, ``(b, t, d)``, in the dtype of `x`, and the last h, ``(b, d, n, 2)``, in float32 at least.

    Source: Gu et al. 2022, arXiv:2206.11893.
    """
    time, inputs = x.shape[1], x.to(torch.promote_types(x.dtype, torch.float32))
    with torch.autocast(x.device.type, enabled=False):  # products of powers would be narrower than the powers
        blocks = _Blocks(log_decay, angle, time)
        y = longconv(inputs, blocks.read(weight))
        h = blocks.sums(inputs.flip(1))
        if state is not None:
            before = torch.view_as_complex(state.to(inputs.dtype).contiguous())
            y = y + blocks.read(before * weight * _powers(log_decay, angle, 1)).transpose(1, 2)
            h = h + _powers(log_decay, angle, time) * before
    return y.to(x.dtype), torch.view_as_real(h)


def diagonal_ssm_reference(
    x: Tensor, log_decay: Tensor, angle: Tensor, weight: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same as `diagonal_ssm`, one token at a time."""
    decay = torch.polar(log_decay.exp(), angle)
    h = torch.zeros(x.shape[0], *decay.shape, dtype=decay.dtype) if state is None else torch.view_as_complex(state)
    rows = []
    for t in range(x.shape[1]):
        h = decay * h + x[:, t, :, None]
        rows.append(2 * (weight * h).sum(-1).real)
    return torch.stack(rows, dim=1), torch.view_as_real(h)


def ssm_kernel(log_decay: Tensor, angle: Tensor, weight: Tensor, length: int) -> Tensor:
    """The weight of each lag in `diagonal_ssm`, ``(d, l)``.

    kernel_l = 2 Re sum_n c_n e^{(w_n + i a_n) l}
    """
    with torch.autocast(angle.device.type, enabled=False):
        return _Blocks(log_decay, angle, length).read(weight)


class _Blocks:
    """The powers of the states' decays for all lags below a length, as products of two that are kept.

    Lag l = q * size + r takes a coarse power and a fine one, about the square root of the length of each: all of them
    at once, ``(d, n, l)``, would be gigabytes.
    """

    def __init__(self, log_decay: Tensor, angle: Tensor, length: int) -> None:
        self.length, self.size = length, 1 << (length.bit_length() + 1) // 2
        lags = torch.arange(-(-length // self.size) * self.size, device=angle.device)
        self.fine = _powers(log_decay, angle, lags[: self.size])
        self.coarse = _powers(log_decay, angle, lags[:: self.size])

    def read(self, weight: Tensor) -> Tensor:
        """Twice the real part of the states' weighted sum at each lag, ``(..., d, n)`` to ``(..., d, l)``."""
        coarse = weight[..., None] * self.coarse
        # products of complex matrices have no form that leaves out a part
        real = coarse.real.mT @ self.fine.real - coarse.imag.mT @ self.fine.imag
        return 2 * real.flatten(-2)[..., : self.length]

    def sums(self, x: Tensor) -> Tensor:
        """Each state's sum of the inputs ``(b, l, d)``, each by the power of its lag, ``(b, d, n)``."""
        padded = pad(x.transpose(1, 2), (0, -self.length % self.size)).unflatten(2, (-1, self.size))
        within = torch.complex(padded @ self.fine.real.mT, padded @ self.fine.imag.mT)
        return (within * self.coarse.mT).sum(2)


def _powers(log_decay: Tensor, angle: Tensor, lag: Tensor | int) -> Tensor:
    """``e^{(w + i a) lag}``: of one lag ``(d, n)``, of several ``(d, n, l)``."""
    if isinstance(lag, Tensor):
        log_decay, angle = log_decay[..., None], angle[..., None]
    # In float32, the angle of a late token would be off by as much as its last turns are long.
    turned = torch.remainder(angle.double() * lag, 2 * pi).to(angle.dtype)
    return torch.polar((log_decay * lag).exp(), turned)
