"""The scan of selective state spaces, whose states are too large to be kept for every token."""

from typing import Any

import torch
from torch import Tensor

from mixers.ops.documents import check_documents, starts
from mixers.ops.scan import run_scan, scan, states_gradient

CHUNK = 64
"""The states of at least so many tokens, ``(b, c, d, n)``, are in memory at a time."""

NUMBERS = 2**18
"""A chunk of so many numbers a row is long enough: small states take longer chunks, since each costs its launches."""


def selective_scan(
    x: Tensor,
    delta: Tensor,
    rate: Tensor,
    write: Tensor,
    read: Tensor,
    *,
    state: Tensor | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a diagonal state space of n states a channel, whose step size, input and output depend on the token.

        h_t = exp(delta_t * A) * h_{t-1} + (delta_t * x_t) B_t        y_t = <C_t, h_t>

    In chunks: of the states, only those between chunks are kept, and the backward pass computes a chunk's states anew.
    Linear in time.

    Args:
        x: the inputs, ``(b, t, d)``.
        delta: the step sizes, zero or more, ``(b, t, d)``.
        rate: A, the states' rates of decay, zero or less, ``(d, n)``.
        write: B, how a token is written, ``(b, t, n)``.
        read: C, how the states are read, ``(b, t, n)``.
        state: h before the first token, ``(b, d, n)``; None for zeros.
        documents: ``(b, t)`` int64; a document starts from zeros, the row's first one from `state`.

    Returns:
        All y, ``(b, t, d)``, in the dtype of `x`, and the last h, ``(b, d, n)``, in float32 at least.

    Raises:
        ValueError: `documents` has another shape than the tokens.

    Source: Gu & Dao 2023, arXiv:2312.00752, "S6".
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    initial = x.new_zeros(x.shape[0], *rate.shape, dtype=dtype) if state is None else state.to(dtype)
    kept = None if documents is None else _kept(documents, x)
    inputs = (tensor.to(dtype) for tensor in (x, delta, rate, write, read))
    y: Tensor
    with torch.autocast(x.device.type, enabled=False):  # the backward pass multiplies what the forward pass gave
        y, between = _SelectiveScan.apply(*inputs, initial, kept)
    return y.to(x.dtype), between[:, -1].clone()


def selective_scan_reference(
    x: Tensor, delta: Tensor, rate: Tensor, write: Tensor, read: Tensor, *, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same as `selective_scan` of one document a row, one token at a time."""
    h = x.new_zeros(x.shape[0], *rate.shape) if state is None else state
    rows = []
    for t in range(x.shape[1]):
        decay = (delta[:, t, :, None] * rate).exp()
        h = decay * h + (delta * x)[:, t, :, None] * write[:, t, None, :]
        rows.append(torch.einsum("bdn,bn->bd", h, read[:, t]))
    return torch.stack(rows, dim=1), h


def _kept(documents: Tensor, x: Tensor) -> Tensor:
    """Whether a state is kept before each token, ``(b, t, 1, 1)``; the row's first document goes on from the row's."""
    check_documents(documents, x)
    fresh = starts(documents)
    fresh[:, 0] = False
    return ~fresh[..., None, None]


class _SelectiveScan(torch.autograd.Function):
    """The scan, chunk by chunk.

    It returns the states between chunks, from the first before to the last after, rather than keeping them aside: so
    gradients reach the last state by way of them, and second derivatives are right.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - torch gives them by position
        x: Tensor, delta: Tensor, rate: Tensor, write: Tensor, read: Tensor, initial: Tensor, kept: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        rows, between = [], [initial]
        for chunk in _chunks(x, rate):
            decay = _decay(delta[:, chunk], rate, kept if kept is None else kept[:, chunk])
            written = (delta[:, chunk] * x[:, chunk])[..., None] * write[:, chunk, None]
            states = run_scan(decay, written, between[-1])
            rows.append(_read(states, read[:, chunk]))
            between.append(states[:, -1].clone())
        return torch.cat(rows, dim=1), torch.stack(between, dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, _, kept = inputs
        ctx.save_for_backward(*tensors, kept, output[1])

    @staticmethod
    def backward(ctx: Any, to_y: Tensor, to_between: Tensor) -> tuple[Tensor | None, ...]:
        x, delta, rate, write, read, kept, between = ctx.saved_tensors
        pieces: list[tuple[Tensor, ...]] = []
        to_rate = torch.zeros_like(rate)
        to_end = to_between[:, -1]
        for index, chunk in reversed(list(enumerate(_chunks(x, rate)))):
            x_c, delta_c, write_c, read_c, to_y_c = (z[:, chunk] for z in (x, delta, write, read, to_y))
            decay = _decay(delta_c, rate, kept if kept is None else kept[:, chunk])
            written = delta_c * x_c
            states, _ = scan(decay, written[..., None] * write_c[:, :, None], between[:, index])
            to_states = states_gradient(decay, to_y_c[..., None] * read_c[:, :, None], to_end)
            before = torch.cat([between[:, index, None], states[:, :-1]], dim=1)
            to_exponent = to_states * before * decay
            to_written = _read(to_states, write_c)
            to_delta = (to_exponent * rate).sum(-1) + to_written * x_c
            to_rate = to_rate + (to_exponent * delta_c[..., None]).sum((0, 1))
            to_write = torch.einsum("btdn,btd->btn", to_states, written)
            to_read = torch.einsum("btdn,btd->btn", states, to_y_c)
            pieces.append((to_written * delta_c, to_delta, to_write, to_read))
            to_end = decay[:, 0] * to_states[:, 0] + to_between[:, index]
        to_x, to_delta, to_write, to_read = (torch.cat(z[::-1], dim=1) for z in zip(*pieces, strict=True))
        return to_x, to_delta, to_rate, to_write, to_read, to_end, None


def _chunks(x: Tensor, rate: Tensor) -> list[slice]:
    time, size = x.shape[1], max(CHUNK, NUMBERS // rate.numel())
    return [slice(start, min(start + size, time)) for start in range(0, time, size)]


def _decay(delta: Tensor, rate: Tensor, kept: Tensor | None) -> Tensor:
    decay = (delta[..., None] * rate).exp()
    return decay if kept is None else decay * kept


def _read(states: Tensor, read: Tensor) -> Tensor:
    return torch.einsum("btdn,btn->btd", states, read)
