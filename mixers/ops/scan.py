"""Linear recurrences, element by element: the scan of gated and state-space networks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mixers.ops.documents import check_documents, starts

CHUNK = 16
"""Tokens that are stepped through one by one, while all chunks of a sequence take their steps together."""


def scan(
    decay: Tensor, x: Tensor, state: Tensor | None = None, *, documents: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run a linear recurrence along time, every element by itself.

        h_t = a_t * h_{t-1} + x_t

    Three passes over chunks that are stepped through side by side: what each chunk makes of a zero state and of a state
    before it; the states between them, by a scan of their own; and the recurrence from these. Linear in time, with a
    number of kernel launches that grows as its logarithm. No logarithms or quotients of decays are taken: they may be
    of any sign, zero, or complex. The gradient is the same recurrence, from the last token to the first.

    Args:
        decay: a, multiplicative: ``(b, t, ...)``, or ``(...)`` without batch and time for constants. It may be
            broadcast to `x`.
        x: the inputs, ``(b, t, ...)``.
        state: h before the first token, ``(b, ...)``; None for zeros.
        documents: ``(b, t)`` int64; a document starts from zeros, the row's first one from `state`.

    Returns:
        All h, ``(b, t, ...)``, in the dtype of `x` unless only decays or state are complex, and the last one,
        ``(b, ...)``, in float32 at least.

    Raises:
        ValueError: `documents` has another shape than the tokens.

    Source: Blelloch 1990, "Prefix sums and their applications"; Martin & Cundy 2018, arXiv:1709.04057.
    """
    dtype = torch.promote_types(torch.promote_types(decay.dtype, x.dtype), torch.float32)
    if state is not None:
        dtype = torch.promote_types(dtype, state.dtype)
    initial = x.new_zeros(x.shape[:1] + x.shape[2:], dtype=dtype) if state is None else state.to(dtype)
    if documents is not None:
        decay = within_documents(decay.expand(x.shape), documents)
    h: Tensor
    h, last = _Scan.apply(decay.to(dtype).expand(x.shape), x.to(dtype), initial, False)
    return (h if dtype.is_complex else h.to(x.dtype)), last


def scan_reference(decay: Tensor, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same as `scan` of one document a row, one token at a time."""
    decay = decay.expand(x.shape)
    h = torch.zeros_like(x[:, 0]) if state is None else state
    states = []
    for t in range(x.shape[1]):
        h = decay[:, t] * h + x[:, t]
        states.append(h)
    return torch.stack(states, dim=1), h


def within_documents(decay: Tensor, documents: Tensor) -> Tensor:
    """Multiplicative decays, ``(b, t, ...)``, that let nothing through from one document to the next.

    The row's first document keeps the decay of its first token: it goes on from the row's state.
    """
    check_documents(documents, decay)
    fresh = starts(documents)
    fresh[:, 0] = False
    return decay.masked_fill(fresh.reshape(*fresh.shape, *[1] * (decay.ndim - 2)), 0)


class _Scan(torch.autograd.Function):
    """The recurrence, forwards or backwards in time; it keeps decays and results, and nothing of the passes."""

    @staticmethod
    def forward(decay: Tensor, x: Tensor, initial: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
        h = run_scan(decay, x, initial, reverse)
        return h, h[:, 0 if reverse else -1].clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: tuple[Tensor, Tensor]) -> None:
        decay, _, initial, reverse = inputs
        ctx.save_for_backward(decay, initial, output[0])
        ctx.reverse = reverse

    @staticmethod
    def backward(ctx: Any, to_h: Tensor, to_last: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        decay, initial, h = ctx.saved_tensors
        to_x = states_gradient(decay, to_h, to_last, reverse=ctx.reverse)
        to_decay = None
        if ctx.needs_input_grad[0]:
            before = [h[:, 1:], initial[:, None]] if ctx.reverse else [initial[:, None], h[:, :-1]]
            to_decay = to_x * torch.cat(before, dim=1).conj()
        front = -1 if ctx.reverse else 0
        return to_decay, to_x, decay[:, front].conj() * to_x[:, front], None


def states_gradient(decay: Tensor, to_h: Tensor, to_last: Tensor, reverse: bool = False) -> Tensor:
    """The gradient of each state of a scan, ``(b, t, ...)``, which is that of its input as well.

    It comes from the state's own reader, `to_h`, and through the decay of the token after it from that one's state: a
    scan from the last token, which `to_last` reaches too, to the first. With `reverse`, that of a scan from the last.
    """
    end = 0 if reverse else -1
    newest = to_h[:, end] + to_last
    if to_h.shape[1] == 1:
        return newest[:, None]
    later, readers = (slice(-1), slice(1, None)) if reverse else (slice(1, None), slice(-1))
    rest, _ = _Scan.apply(decay[:, later].conj(), to_h[:, readers], newest, not reverse)
    return torch.cat([newest[:, None], rest] if reverse else [rest, newest[:, None]], dim=1)


def run_scan(decay: Tensor, x: Tensor, initial: Tensor, reverse: bool = False) -> Tensor:
    """All states of a scan, ``(b, t, ...)``, without a gradient of its own. See `scan`."""
    if torch.compiler.is_compiling():  # A compiler fuses a few large passes, and takes minutes over many small steps.
        return _by_doubling(decay, x, initial, reverse)
    time = x.shape[1]
    chunks = time // CHUNK
    if chunks < 4:
        return _stacked(_states(_slices(decay, 1, reverse), _slices(x, 1, reverse), initial), 1, reverse)
    whole = chunks * CHUNK
    main, rest = slice(whole), slice(whole, None)
    if reverse:
        main, rest = slice(time - whole, None), slice(time - whole)
    decays = _slices(decay[:, main].unflatten(1, (chunks, CHUNK)), 2, reverse)
    inputs = _slices(x[:, main].unflatten(1, (chunks, CHUNK)), 2, reverse)
    through, end = decays[0], inputs[0]
    for a, added in zip(decays[1:], inputs[1:], strict=True):
        through, end = through * a, torch.addcmul(added, a, end)
    ends = run_scan(through, end, initial, reverse)
    before = [ends[:, 1:], initial[:, None]] if reverse else [initial[:, None], ends[:, :-1]]
    h = _stacked(_states(decays, inputs, torch.cat(before, dim=1)), 2, reverse).flatten(1, 2)
    if whole == time:
        return h
    tail = run_scan(decay[:, rest], x[:, rest], ends[:, 0 if reverse else -1], reverse)
    return torch.cat([tail, h] if reverse else [h, tail], dim=1)


def _by_doubling(decay: Tensor, x: Tensor, h: Tensor, reverse: bool) -> Tensor:
    """The states by log2 t passes, each of which doubles the number of tokens that a state sums up."""
    if reverse:
        return _by_doubling(decay.flip(1), x.flip(1), h, False).flip(1)
    x = torch.cat([torch.addcmul(x[:, :1], decay[:, :1], h[:, None]), x[:, 1:]], dim=1)
    seen = 1
    while seen < x.shape[1]:
        x = torch.cat([x[:, :seen], torch.addcmul(x[:, seen:], decay[:, seen:], x[:, :-seen])], dim=1)
        decay = torch.cat([decay[:, :seen], decay[:, seen:] * decay[:, :-seen]], dim=1)
        seen *= 2
    return x


def _states(decays: Sequence[Tensor], inputs: Sequence[Tensor], h: Tensor) -> list[Tensor]:
    states = []
    for a, x in zip(decays, inputs, strict=True):
        h = torch.addcmul(x, a, h)
        states.append(h)
    return states


def _slices(x: Tensor, dim: int, reverse: bool) -> tuple[Tensor, ...]:
    slices = x.unbind(dim)
    return slices[::-1] if reverse else slices


def _stacked(states: list[Tensor], dim: int, reverse: bool) -> Tensor:
    return torch.stack(states[::-1] if reverse else states, dim=dim)
