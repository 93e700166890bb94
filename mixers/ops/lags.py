"""Lags: a token beside the tokens (or a channel beside the channels) that came shortly before it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.growing import in_own_memory


def delay(x: Tensor, lag: int, past: Tensor | None = None) -> Tensor:
    """Put at each token what was there `lag` tokens ago.

    Args:
        x: a sequence, ``(..., t, k)``.
        lag: how many tokens back, zero or more.
        past: the tokens just before `x`, ``(..., p, k)``; beyond its start everything is zero.

    Returns:
        The delayed sequence, ``(..., t, k)``.
    """
    t = x.shape[-2]
    whole = x if past is None else torch.cat([past, x], dim=-2)
    return F.pad(whole, (0, 0, lag, 0))[..., whole.shape[-2] - t : whole.shape[-2], :]


def tail(x: Tensor, length: int, past: Tensor | None = None) -> Tensor:
    """The last `length` tokens of `past` and `x` together, fewer where there are not so many, to be kept as a state.

    They lie in memory of their own: as a view, a few tokens would keep a long prompt alive, and one part of a
    projection the others.

    Args:
        x: the newest tokens, ``(..., t, k)``.
        length: how many tokens to keep, zero or more.
        past: the tokens before them, ``(..., p, k)``.
    """
    if past is not None and x.shape[-2] < length:
        x = torch.cat([past, x], dim=-2)
        if x.shape[-2] <= 2 * length:  # in memory of its own, with little beside it
            return x.narrow(-2, max(x.shape[-2] - length, 0), min(x.shape[-2], length))
    if x.shape[-2] <= length:
        return in_own_memory(x)
    return x[..., x.shape[-2] - length :, :].clone()


def mix_lags(x: Tensor, weights: Tensor, past: Tensor | None = None) -> Tensor:
    """Add up the lags of a sequence, each by its weight.

        y_t = sum_l weights_l * x_{t-l}

    Costs ``2 * t * l * k`` operations a head and no memory beside the result: the lags are never laid out.

    Args:
        x: a sequence, ``(b, h, t, k)``.
        weights: one weight a lag, counted from lag 0: ``(h, l)``, or ``(b, h, t, l)`` to weigh each t on its own.
        past: the tokens just before `x`, ``(b, h, p, k)``; beyond its start everything is zero.

    Returns:
        The sum, ``(b, h, t, k)``, in the dtype of `x`.
    """
    t = x.shape[2]
    whole = x if past is None else torch.cat([past.to(x.dtype), x], dim=2)
    by_token = weights.to(x.dtype) if weights.ndim == 4 else weights.to(x.dtype)[None, :, None]
    if t == 1 and not torch.is_grad_enabled():  # the lags of one token are a product of a row and a matrix
        seen = min(by_token.shape[-1], whole.shape[2])
        return (by_token[..., :seen].flip(-1) @ whole[:, :, -seen:]).to(x.dtype)
    mixed: Tensor = _LagMixing.apply(whole, by_token, t)
    return mixed


def add_past(x: Tensor, weights: Tensor, past: Tensor) -> Tensor:
    """`mix_lags` of one token, whose own weight is 1.

    Args:
        x: the token, ``(b, h, 1, k)``.
        weights: of the lags from 1 on, ``(h, l)``.
        past: the tokens just before it, ``(b, h, p, k)``.
    """
    seen = min(weights.shape[1], past.shape[2])
    rows = weights.to(x.dtype)[:, :seen].flip(1)[:, None]
    before = past.to(x.dtype).narrow(2, past.shape[2] - seen, seen)
    if len(x) == 1:
        return torch.baddbmm(x[0], rows, before[0])[None]
    return x + rows @ before


def mix_lags_reference(x: Tensor, weights: Tensor, past: Tensor | None = None) -> Tensor:
    """`mix_lags` one token and one lag at a time."""
    before = 0 if past is None else past.shape[2]
    whole = x if past is None else torch.cat([past, x], dim=2)
    weights = weights if weights.ndim == 4 else weights[None, :, None].expand(x.shape[0], -1, x.shape[2], -1)
    mixed = []
    for t in range(x.shape[2]):
        total = torch.zeros_like(x[:, :, 0])
        for lag in range(weights.shape[-1]):
            if before + t - lag >= 0:
                total = total + weights[:, :, t, lag, None] * whole[:, :, before + t - lag]
        mixed.append(total)
    return torch.stack(mixed, dim=2)


class _LagMixing(torch.autograd.Function):
    """Shifted multiply-adds in place. Left to autograd, every lag would write the whole sequence several times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, t: int) -> Tensor:
        ctx.save_for_backward(x, weights)
        before = x.shape[2] - t
        mixed = x[:, :, before:] * weights[..., :1]
        for lag in range(1, weights.shape[-1]):
            there, here = _overlap(lag, before, t)
            mixed[:, :, here].addcmul_(x[:, :, there], _weight(weights, lag, here))
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weights = ctx.saved_tensors
        t = gradient.shape[2]
        before = x.shape[2] - t
        to_x = gradient * weights[..., :1]
        if before:
            to_x = F.pad(to_x, (0, 0, before, 0))
        to_weights = []
        for lag in range(weights.shape[-1]):
            there, here = _overlap(lag, before, t)
            if lag:
                to_x[:, :, there].addcmul_(gradient[:, :, here], _weight(weights, lag, here))
            if ctx.needs_input_grad[1]:
                to_weights.append(_to_weight(gradient[:, :, here] * x[:, :, there], weights, t))
        return to_x, torch.stack(to_weights, dim=-1) if to_weights else None, None


def _overlap(lag: int, before: int, t: int) -> tuple[slice, slice]:
    """Where the tokens that are `lag` old lie in the sequence with its past, and where they land."""
    first = min(max(lag - before, 0), t)
    start = before - lag + first
    return slice(start, start + t - first), slice(first, t)


def _weight(weights: Tensor, lag: int, here: slice) -> Tensor:
    return weights[:, :, here if weights.shape[2] > 1 else slice(None), lag, None]


def _to_weight(product: Tensor, weights: Tensor, t: int) -> Tensor:
    """The gradient of one lag's weights, ``(b or 1, h, t or 1)``, from that of its share of the sum."""
    if weights.shape[0] == 1 and weights.shape[2] == 1:
        # time first: its rows lie side by side in memory, and each sum stays contiguous
        return product.sum(2).sum((0, 2))[None, :, None]
    return F.pad(product.sum(-1), (t - product.shape[2], 0))
