"""What mixers with a decaying memory a head have in common: how they are run, and how their memory is shown."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from mixers.layers.memory_panels import SHOWN_TOKENS, influence_panel, kept_panel
from mixers.ops.decay import decay
from mixers.ops.rotary import rotate_first
from zoo import Panel, State, TokenMixer

MIN_NORMED = 4
"""Channels of a head at least: of one or two a norm turns small rounding errors of small values into large ones."""


class Heads(NamedTuple):
    """What is read from the stream, by head.

    Args:
        query: ``(b, t, h, k)``.
        key: ``(b, t, h, k)``.
        value: ``(b, t, h, v)``.
        log_decay: zero or less: None for no decay, ``(h,)`` a constant, ``(b, t, h)`` one a head, ``(b, t, h, k)`` one
            a channel.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    log_decay: Tensor | None = None


class LinearMemory(TokenMixer):
    """Heads, a memory that decays and is written to at each token, and a write of what was read from it.

    A subclass has `_heads` and `_write`, and where its memory is not that of `mixers.ops.decay`, `_remember`.
    """

    floor: float | None = None
    """The least log decay that the heads promise; None promises nothing."""

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state is the memory, one matrix a head, of one size however long the text."""
        return self._mix(x, state, None)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens in the first sequence, and what is kept where tokens decide it."""
        heads = self._heads(x[:1, :SHOWN_TOKENS])
        shown = [reach_panel(lambda probe: self._remember(heads._replace(value=probe), None, None)[0], heads.value)]
        if heads.log_decay is not None and heads.log_decay.ndim > 1:
            shown.append(kept_panel(heads.log_decay))
        return shown

    def _mix(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        read, state = self._remember(self._heads(x), state, documents)
        return self._write(read, x), state

    def _heads(self, x: Tensor) -> Heads:
        raise NotImplementedError

    def _remember(self, heads: Heads, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the heads read of their memory, ``(b, t, h, v)``, linear in the values, and the memory afterwards."""
        query, key, value, log_decay = heads
        return decay(query, key, value, log_decay, state, floor=self.floor, documents=documents)

    def _write(self, read: Tensor, x: Tensor) -> Tensor:
        """The write, ``(b, t, d)``, of what the heads read, given the reads."""
        raise NotImplementedError


def reach_panel(read: Callable[[Tensor], Tensor], value: Tensor) -> Panel:
    """How much of each token's value is in what each later token reads, where nothing is erased.

    Args:
        read: from values to what is read of the memory, both ``(1, t, h, v)``; linear.
        value: the values.
    """
    reading = "A row is a token: the weights of its own and earlier values in what it reads from the memory."
    return replace(influence_panel(read, value), reading=reading)


def split_memory_heads(projected: Tensor, heads: int, key_size: int, value_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut one projection, ``(b, t, h * (2 k + v))``, into queries and keys, ``(b, t, h, k)``, and values."""
    keys, values = heads * key_size, heads * value_size
    query, key, value = projected.split([keys, keys, values], dim=-1)
    return query.unflatten(-1, (heads, -1)), key.unflatten(-1, (heads, -1)), value.unflatten(-1, (heads, -1))


def turned(x: Tensor) -> Tensor:
    """Turn queries or keys, ``(b, t, h, k)``, by the positions from 0; of an odd k the last channel stays as it is.

    Documents need no positions of their own, since only distances matter.
    """
    heads_first = x.transpose(1, 2)
    return rotate_first(heads_first, x.shape[-1] // 2 * 2).transpose(1, 2)


def turned_back(memory: Tensor, time: int) -> Tensor:
    """Turn the keys in a memory, ``(b, h, k, v)``, back by the tokens that were read, so that the next is at 0."""
    columns = memory.mT.flatten(1, 2)[:, :, None]
    straight = rotate_first(columns, memory.shape[2] // 2 * 2, -time)
    return straight[:, :, 0].unflatten(1, (memory.shape[1], memory.shape[3])).mT


def memory_sizes(dim: int, heads: int, key_size: int | None, default: int, value_size: int | None) -> tuple[int, int]:
    """The channels of a head's keys and of its values, once they are known to be possible.

    Args:
        dim: model width.
        heads: heads.
        key_size: channels of keys; None for the default.
        default: of keys.
        value_size: channels of values; None for dim / heads.

    Raises:
        ValueError: heads that do not divide dim, a key_size below 1, a value_size below 4.
    """
    if heads < 1 or dim % heads:
        raise ValueError(f"heads={heads} does not divide dim={dim}; choose heads among the divisors of dim")
    if key_size is not None and key_size < 1:
        raise ValueError(f"key_size must be 1 or more, not {key_size}")
    if value_size is not None and value_size < MIN_NORMED:
        raise ValueError(
            f"value_size must be {MIN_NORMED} or more, not {value_size}: of fewer channels a norm leaves what "
            "half precision cannot tell"
        )
    return default if key_size is None else key_size, dim // heads if value_size is None else value_size
