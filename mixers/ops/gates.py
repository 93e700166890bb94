"""Log decays from what a token asks for."""

import torch
from torch import Tensor
from torch.nn.functional import softplus


def softplus_decay(x: Tensor, log_rate: Tensor, bias: Tensor) -> Tensor:
    """A log decay without a bound, ``-exp(log_rate) softplus(x + bias)``.

    Args:
        x: of each head ``(b, t, h)``, or of each of its channels ``(b, t, h, k)``.
        log_rate: ``(h,)``; `A_log` in the literature.
        bias: ``(h,)`` or ``(h, k)``.

    Returns:
        Below 0, of the shape of `x`.

    Source: Dao & Gu 2024, arXiv:2405.21060; for channels, Kimi Team 2025, arXiv:2510.26692.
    """
    return -_of_heads(log_rate, x).exp() * softplus(x + bias)


def bounded_decay(x: Tensor, log_rate: Tensor, bias: Tensor, floor: float = -5.0) -> Tensor:
    """A log decay between a floor and 0, ``floor * sigmoid(exp(log_rate) (x + bias))``.

    The floor is a promise that operators can use: with -5 a chunk of 32 tokens has no factor that float32 cannot hold.

    Args:
        x: of each head ``(b, t, h)``, or of each of its channels ``(b, t, h, k)``.
        log_rate: ``(h,)``; `A_log` in the literature.
        bias: ``(h,)`` or ``(h, k)``.
        floor: below 0.

    Returns:
        From `floor` to 0, of the shape of `x`.

    Raises:
        ValueError: `floor` is 0 or more.

    Source: Kimi Team 2025, arXiv:2510.26692.
    """
    if floor >= 0:
        raise ValueError(f"floor must be below 0, not {floor}: it is the least log decay")
    return floor * torch.sigmoid(_of_heads(log_rate, x).exp() * (x + bias))


def _of_heads(rate: Tensor, x: Tensor) -> Tensor:
    return rate if x.ndim == 3 else rate[:, None]
