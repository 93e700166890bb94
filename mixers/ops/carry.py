"""A state carried from chunk to chunk: the only loop over time of the chunked forms."""

from typing import Any

import torch
from torch import Tensor


def carry(keep: Tensor, write: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Carry a state over chunks, each of which keeps a part of it: ``S_n = keep_n * S_{n-1} + write_n``.

    Args:
        keep: how much of the state each chunk leaves, ``(b or 1, h, n, k or 1, 1)``.
        write: what it adds, ``(b, h, n, k, v)``.
        state: the state before the first chunk, ``(b, h, k, v)``.

    Returns:
        The states before each chunk, ``(b, h, n, k, v)``, and the one behind the last.
    """
    return _carried(keep, write, state, matrices=False)


def carry_through(transition: Tensor, write: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The same with a matrix for each chunk, ``S_n = transition_n S_{n-1} + write_n``.

    Args:
        transition: what each chunk makes of the state, ``(b, h, n, k, k)``.
        write: as in `carry`.
        state: as in `carry`.

    Returns:
        As `carry`.
    """
    return _carried(transition, write, state, matrices=True)


def _carried(transition: Tensor, write: Tensor, state: Tensor, *, matrices: bool) -> tuple[Tensor, Tensor]:
    if torch.compiler.is_compiling():  # which makes a backward pass of its own, and takes none that calls itself
        return _loop(transition, write, state, matrices, False)
    states, after = _Carry.apply(transition, write, state, matrices, False)
    return states, after


def _loop(transition: Tensor, write: Tensor, state: Tensor, matrices: bool, reverse: bool) -> tuple[Tensor, Tensor]:
    heads, before = state.shape[:2], []
    if matrices:
        transition, write, state = (x.flatten(0, 1) for x in (transition, write, state))
    step, dim = (torch.baddbmm, 1) if matrices else (torch.addcmul, 2)
    chunks = list(zip(transition.unbind(dim), write.unbind(dim), strict=True))
    for through, added in reversed(chunks) if reverse else chunks:
        before.append(state)
        state = step(added, through, state)
    states = torch.stack(before[::-1] if reverse else before, dim=dim)
    return (states.unflatten(0, heads), state.unflatten(0, heads)) if matrices else (states, state)


class _Carry(torch.autograd.Function):
    """The loop, forwards or backwards in time. Its gradient is the loop the other way, and a product for all chunks.

    Left to autograd, each chunk would have products and sums of its own on the way back.
    """

    @staticmethod
    def forward(
        transition: Tensor, write: Tensor, state: Tensor, matrices: bool, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        return _loop(transition, write, state, matrices, reverse)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool, bool], output: tuple[Tensor, Tensor]
    ) -> None:
        transition, _, _, ctx.matrices, ctx.reverse = inputs
        ctx.save_for_backward(transition, output[0])

    @staticmethod
    def backward(ctx: Any, to_states: Tensor, to_after: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        transition, states = ctx.saved_tensors
        back = transition.mT if ctx.matrices else transition
        to_write, to_state = _Carry.apply(back, to_states, to_after, ctx.matrices, not ctx.reverse)
        to_transition = None
        if ctx.needs_input_grad[0]:
            product = to_write @ states.mT if ctx.matrices else to_write * states
            to_transition = product.sum_to_size(transition.shape)
        return to_transition, to_write, to_state, None, None
