"""Diagonal state spaces that are the same at every token: a long convolution, or a recurrence."""

from math import pi

import torch
from torch import Tensor

from mixers.ops.longconv import longconv


def diagonal_ssm(
    x: Tensor, log_decay: Tensor, angle: Tensor, weight: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run n complex states a channel, each one of a conjugate pair, and read their weighted sum.

        h_t = e^{w + i a} h_{t-1} + x_t        y_t = 2 Re sum_n c_n h_{t,n}

    The same as the convolution with `ssm_kernel`, which is how it is computed; what `state` adds decays by powers.
    Time ``t * d * n`` for powers and states, and ``t log t`` for the convolution.

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
    powers = _powers(log_decay, angle, time + 1)
    y = longconv(inputs, _read(weight, powers[..., :time]))
    h = torch.einsum("btd,dnt->bdn", inputs.to(powers.dtype), powers[..., :time].flip(-1))
    if state is not None:
        before = torch.view_as_complex(state.to(inputs.dtype).contiguous())
        y = y + 2 * torch.einsum("bdn,dnt->btd", before * weight, powers[..., 1:]).real
        h = h + powers[..., time] * before
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
    return _read(weight, _powers(log_decay, angle, length))


def _read(weight: Tensor, powers: Tensor) -> Tensor:
    """The states' weighted sum, ``(d, l)``; products of complex matrices have no form that leaves out a part."""
    real = weight.real[:, None] @ powers.real - weight.imag[:, None] @ powers.imag
    return 2 * real[:, 0]


def _powers(log_decay: Tensor, angle: Tensor, length: int) -> Tensor:
    """``e^{(w + i a) l}`` for all l below `length`, ``(d, n, l)``."""
    lag = torch.arange(length, device=angle.device)
    # In float32, the angle of a late token would be off by as much as its last turns are long.
    turned = torch.remainder(angle.double()[..., None] * lag, 2 * pi).to(angle.dtype)
    return torch.polar((log_decay[..., None] * lag).exp(), turned)
