"""Caches that grow: what a step adds to the keys of all tokens so far is written behind them, and nothing is copied."""

import threading

import torch
from torch import Tensor

SPARE = 8
"""At least so many tokens of memory are set aside when a cache is moved; a longer one gets half of its length."""


class _Memory:
    """What a cache is a view of, and how many of its tokens are taken.

    A copy of a cache has no memory beyond itself.
    """

    def __init__(self, whole: Tensor, taken: int) -> None:
        self.whole, self.taken, self.lock = whole, taken, threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return set, ()

    def take(self, start: int, stop: int) -> bool:
        """Whether these tokens are free and follow what is taken; they are taken then."""
        with self.lock:
            free = self.taken == start and stop <= self.whole.shape[2]
            if free:
                self.taken = stop
            return free


def append(past: Tensor, new: Tensor) -> Tensor:
    """What `torch.cat` gives along axis 2, as a view of memory that has room for more.

    Each cache stays what it is, however often one goes on from it: only the first to do so finds the room behind it
    free, and whoever comes later moves to memory of its own. Where gradients are asked for, or code is generated, all
    is copied as by `torch.cat`.

    Args:
        past: of the tokens so far, ``(b, h, s, ...)``.
        new: of those that follow, ``(b, h, t, ...)``.

    Returns:
        ``(b, h, s + t, ...)``.
    """
    alike = past.shape[:2] + past.shape[3:] == new.shape[:2] + new.shape[3:] and past.dtype == new.dtype
    if not alike or past.device != new.device or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.cat([past, new], dim=2)
    start, stop = past.shape[2], past.shape[2] + new.shape[2]
    memory = getattr(past, "memory", None)
    if not (isinstance(memory, _Memory) and _may_write(memory.whole) and memory.take(start, stop)):
        room = stop + max(SPARE, stop // 2)
        memory = _Memory(past.new_empty(*past.shape[:2], room, *past.shape[3:]), stop)
        memory.whole[:, :, :start] = past
    memory.whole[:, :, start:stop] = new
    grown = memory.whole[:, :, :stop]
    # it lives as long as this cache, and whatever is made of the cache is without it
    grown.memory = memory  # type: ignore[attr-defined]
    return grown


def in_own_memory(x: Tensor) -> Tensor:
    """The same numbers, not as a view of something else that would stay alive with them; a cache that grows stays."""
    return x if isinstance(getattr(x, "memory", None), _Memory) else x.contiguous()


def _may_write(memory: Tensor) -> bool:
    # what was made in inference mode is read-only outside of it
    return torch.is_inference_mode_enabled() or not memory.is_inference()
