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
    if not _fit(past, new) or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.cat([past, new], dim=2)
    start, more = past.shape[2], new.shape[2]
    memory = getattr(past, "memory", None)
    if not (isinstance(memory, _Memory) and _may_write(memory.whole) and memory.take(start, start + more)):
        room = start + more + max(SPARE, (start + more) // 2)
        memory = _Memory(past.new_empty(*past.shape[:2], room, *past.shape[3:]), start + more)
        memory.whole.narrow(2, 0, start).copy_(past)
    memory.whole.narrow(2, start, more).copy_(new)
    grown = memory.whole.narrow(2, 0, start + more)
    # it lives as long as this cache, and whatever is made of the cache is without it
    grown.memory = memory  # type: ignore[attr-defined]
    return grown


def tokens_so_far(x: Tensor, before: Tensor | None) -> Tensor:
    """How many tokens of each row have been read, ``(b,)``, after reads ``(b, t, d)``; None before the first."""
    return torch.full(x.shape[:1], x.shape[1], device=x.device) if before is None else before + x.shape[1]


def in_own_memory(x: Tensor) -> Tensor:
    """The same numbers, not as a view of something else that would stay alive with them; a cache that grows stays."""
    return x if isinstance(getattr(x, "memory", None), _Memory) else x.contiguous()


def _fit(past: Tensor, new: Tensor) -> bool:
    """Whether the two differ in their lengths alone."""
    alike = past.shape[:2] == new.shape[:2] and past.shape[3:] == new.shape[3:]
    return alike and past.dtype == new.dtype and past.device == new.device


def _may_write(memory: Tensor) -> bool:
    # what was made in inference mode is read-only outside of it
    return torch.is_inference_mode_enabled() or not memory.is_inference()
