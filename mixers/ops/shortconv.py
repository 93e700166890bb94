"""A short depthwise convolution along time, the smallest memory that a mixer can have."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixers.ops.documents import check_documents, starts


def shortconv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    state: Tensor | None = None,
    *,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum each channel's last inputs, each by the weight of its lag.

        y_t = bias + sum_{l < L} weight_l * x_{t-l}

    Shifted multiply-adds with their own backward pass, which keeps its inputs and nothing else; linear in time and in
    taps, of which there should be few. Sums are float32 at least.

    Args:
        x: the inputs, ``(b, t, d)``.
        weight: the taps of each channel, that of the token itself first, ``(d, l)``. Torch's `Conv1d` has it last.
        bias: added everywhere, ``(d,)``.
        state: the l - 1 inputs before `x`, the latest last, ``(b, l - 1, d)``; None for zeros.
        documents: ``(b, t)`` int64; a document sees its own inputs only, the row's first one those of `state` too.

    Returns:
        The sums, ``(b, t, d)``, in the dtype of `x`, and the state after the last token.

    Raises:
        ValueError: `documents` has another shape than the tokens.

    Source: the convolution in front of most linear mixers, e.g. Gu & Dao 2023, arXiv:2312.00752.
    """
    lags = weight.shape[1] - 1
    past = x.new_zeros(x.shape[0], lags, x.shape[2]) if state is None else state.to(x.dtype)
    whole = torch.cat([past, x], dim=1)
    visible = None if documents is None else _visible(documents, x, lags + 1)
    dtype = torch.promote_types(x.dtype, torch.float32)
    y: Tensor = _ShortConvolution.apply(whole.to(dtype), weight.to(dtype).t(), visible)
    if bias is not None:
        y = y + bias.to(dtype)
    # A clone, since a view would keep every input of a long sequence alive.
    kept = whole[:, x.shape[1] :].clone()
    if documents is not None and lags:
        kept = kept * _of_last_document(documents, lags).to(kept.dtype)
    return y.to(x.dtype), kept


def shortconv_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same as `shortconv` of one document a row, one token at a time."""
    lags = weight.shape[1] - 1
    held = x.new_zeros(x.shape[0], lags, x.shape[2]) if state is None else state
    rows = []
    for t in range(x.shape[1]):
        held = torch.cat([held, x[:, t : t + 1]], dim=1)
        row = torch.einsum("bld,dl->bd", held.flip(1), weight)
        rows.append(row if bias is None else row + bias)
        held = held[:, 1:]
    return torch.stack(rows, dim=1), held


def _visible(documents: Tensor, x: Tensor, taps: int) -> Tensor:
    """Which of its taps each token sees, ``(b, t, l)``: those within its document, or before the row."""
    check_documents(documents, x)
    number = starts(documents).cumsum(1)
    earlier = F.pad(number, (taps - 1, 0), value=1).unfold(1, taps, 1).flip(-1)
    return earlier == number[..., None]


def _of_last_document(documents: Tensor, lags: int) -> Tensor:
    """Which of the last inputs belong to the row's last document, ``(b, l - 1, 1)``."""
    number = F.pad(starts(documents).cumsum(1), (lags, 0), value=1)
    return (number[:, -lags:] == number[:, -1:])[..., None]


class _ShortConvolution(torch.autograd.Function):
    """Multiply-adds of whole slices: a kernel's launch a tap, and no copy of the taps' inputs."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, visible: Tensor | None) -> Tensor:
        taps = len(weight)
        y = x[:, taps - 1 :] * weight[0]
        for tap in range(1, taps):
            y.addcmul_(_seen(x, tap, taps, visible), weight[tap])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, visible = ctx.saved_tensors
        taps, to_weight = len(weight), []
        to_x = F.pad(gradient * weight[0], (0, 0, taps - 1, 0))
        for tap in range(taps):
            to_weight.append((gradient * _seen(x, tap, taps, visible)).flatten(0, 1).sum(0))
            if tap:
                by_token = gradient if visible is None else gradient * visible[..., tap, None]
                to_x[:, taps - 1 - tap : x.shape[1] - tap].addcmul_(by_token, weight[tap])
        return to_x, torch.stack(to_weight), None


def _seen(x: Tensor, tap: int, taps: int, visible: Tensor | None) -> Tensor:
    """The inputs under one tap, ``(b, t, d)``, in order of the tokens that see them."""
    seen = x[:, taps - 1 - tap : x.shape[1] - tap]
    return seen if visible is None or not tap else seen * visible[..., tap, None]
