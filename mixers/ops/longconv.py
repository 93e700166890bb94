"""A causal convolution as long as the sequence."""

import torch
from torch import Tensor

import mixers.ops.flops  # noqa: F401 - what transforms cost is registered on import


def longconv(x: Tensor, kernel: Tensor, skip: Tensor | None = None) -> Tensor:
    """Sum each channel's inputs so far, each by the weight of its lag.

        y_t = skip * x_t + sum_{l <= t} kernel_l * x_{t-l}

    By Fourier transforms of twice the length, so that nothing wraps round: ``t log t``. In float32 at least. A
    transform meets all of its inputs, so a sum is causal up to rounding, relative to its channel's largest input.

    Args:
        x: the inputs, ``(b, t, d)``.
        kernel: the weight of each lag, ``(d, l)``, lag 0 first. Lags of t and more are not read; beyond l it is zero.
        skip: a weight for the input itself, ``(d,)``.

    Returns:
        The sums, ``(b, t, d)``, in the dtype of `x`.

    Source: Gu et al. 2021, arXiv:2111.00396; Poli et al. 2023, arXiv:2302.10866.
    """
    time = x.shape[1]
    dtype = torch.promote_types(x.dtype, torch.float32)
    inputs, kernel = x.to(dtype), kernel[:, :time].to(dtype)
    length = _fast_length(2 * time)
    # Channels first: a transform wants its numbers side by side in memory.
    spectrum = torch.fft.rfft(inputs.transpose(1, 2).contiguous(), n=length) * torch.fft.rfft(kernel, n=length)
    y = torch.fft.irfft(spectrum, n=length)[..., :time].transpose(1, 2)
    if skip is not None:
        y = torch.addcmul(y, inputs, skip.to(dtype))
    return y.to(x.dtype)


def longconv_reference(x: Tensor, kernel: Tensor, skip: Tensor | None = None) -> Tensor:
    """The same as `longconv`, one token and one lag at a time."""
    rows = []
    for t in range(x.shape[1]):
        row = torch.zeros_like(x[:, 0]) if skip is None else skip * x[:, t]
        for lag in range(min(t + 1, kernel.shape[1])):
            row = row + kernel[:, lag] * x[:, t - lag]
        rows.append(row)
    return torch.stack(rows, dim=1)


def _fast_length(least: int) -> int:
    """The smallest length from `least` on that is a power of 2, once or thrice or five times."""
    return min(odd << max(0, (-(-least // odd) - 1).bit_length()) for odd in (1, 3, 5))
