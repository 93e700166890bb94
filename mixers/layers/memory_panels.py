"""Pictures of what mixers with a memory a head do with it."""

from collections.abc import Callable

import torch
from torch import Tensor

from zoo import Panel

SHOWN_HEADS, SHOWN_TOKENS = 4, 64
"""So many heads and tokens are shown of the memory's reads and writes."""


def influence_panel(read: Callable[[Tensor], Tensor], value: Tensor) -> Panel:
    """How much of each token's value is in what each later token reads: the attention map of a linear memory.

    Args:
        read: from values to what is read of the memory, both ``(1, t, ..., h, v)``; linear.
        value: the values.
    """
    time = value.shape[1]
    # Token s writes a value that is 1 in channel s and 0 elsewhere: channel s of what is read is its share.
    one_hot = torch.eye(time, dtype=value.dtype, device=value.device).view(1, time, *[1] * (value.ndim - 3), time)
    shares = read(one_hot.expand(*value.shape[:-1], time))[0].transpose(0, 1)
    title = f"what reaches a token in the first sequence, its first {time} tokens"
    reading = "A row is a token: the weights of its own and earlier values in what it reads; erasing takes them back."
    axes = ("head", "query (token)", "value (token)")
    return Panel(title, reading, shares[:SHOWN_HEADS], quantity="weight of the value", axes=axes)


def heads_panel(title: str, reading: str, values: Tensor, quantity: str) -> Panel:
    """A number a token and head, in the first sequence.

    Args:
        title: without the sequence.
        reading: what there is to see.
        values: ``(b, t, h)``, or more axes of a head, which are averaged.
        quantity: what the numbers are.
    """
    shown = values[0, :SHOWN_TOKENS].flatten(2).mean(-1) if values.ndim > 3 else values[0, :SHOWN_TOKENS]
    return Panel(f"{title} in the first sequence", reading, shown.t(), quantity=quantity, axes=("head", "token"))


def kept_panel(log_decay: Tensor) -> Panel:
    """What each head keeps of its memory, ``(b, t, h)`` or, averaged over channels, ``(b, t, h, k)``."""
    reading = "A column is a token: how much of a head's memory is left when it comes; 0 forgets all, 1 nothing."
    return heads_panel("decay", reading, log_decay.exp(), "decay")


def erased_panel(strength: Tensor) -> Panel:
    """What each head erases, ``(b, t, h)`` or, averaged over channels, ``(b, t, h, k)``."""
    reading = "A column is a token: 1 replaces what its key held in the memory, 0 leaves it, 2 turns its sign."
    return heads_panel("erase strength", reading, strength, "erase strength")
