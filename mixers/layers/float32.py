"""Parameters and buffers that stay in float32 in a module that is cast to half precision."""

from collections.abc import Callable
from operator import attrgetter
from typing import ClassVar, Self

import torch
from torch import Tensor, nn


class KeepsFloat32(nn.Module):
    """A base class of modules in which half precision is too coarse for some parameters or buffers.

    A cast to bfloat16 or float16 turns those that `in_float32` names into float32. A cast to float64, a move to
    another device and all else goes through, and parameters stay the objects that they are wherever torch keeps them.
    It stands before other base classes: ``class Mine(KeepsFloat32, TokenMixer)``. A child that is cast by itself
    is not watched over.
    """

    in_float32: ClassVar[frozenset[str]] = frozenset()
    """Names of parameters, of buffers, and of children, of which all is kept; with dots below children."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Every cast and every move of a module goes through here, with the gradients.
        kept = {id(tensor): tensor for name in self.in_float32 for tensor in _tensors(attrgetter(name)(self))}

        def apply(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            cast_to_half = applied.dtype != tensor.dtype and applied.dtype.itemsize < torch.float32.itemsize
            return tensor.to(applied.device, torch.float32) if cast_to_half and id(tensor) in kept else applied

        return super()._apply(apply, recurse)


def _tensors(member: Tensor | nn.Module | None) -> list[Tensor]:
    """What a cast of a parameter, a buffer or a child is called with: gradients too."""
    if member is None:
        return []
    tensors = [member] if isinstance(member, Tensor) else [*member.parameters(), *member.buffers()]
    return tensors + [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
