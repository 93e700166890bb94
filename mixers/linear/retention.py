"""Retention: linear attention that forgets at one fixed pace a head, and knows distances by rotation."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.linear_memory import (
    Heads,
    LinearMemory,
    memory_sizes,
    split_memory_heads,
    turned,
    turned_back,
)
from mixers.layers.normed_heads import NormedHeads


class Retention(LinearMemory):
    """A memory that fades at a fixed pace a head; queries and keys turn with their positions.

        S_t = gamma_h S_{t-1} + k_t v_t^T        gamma_h = 1 - 2**(-5-h)        y_t = S_t^T q_t * k**-0.5
        write_t = W_out [ rmsnorm_head(y_t) * gain * silu(W_gate x_t) ]

    q, k, v: linear in the reads, cut into heads, q and k rotated by their position; k: channels of a head's keys. The
    first head keeps 31/32 of its memory at a token, each further one forgets half as much. With half as many channels
    in the keys as in the values, as in the paper, the parameters are ``4 d**2``.

    Options:
        heads: heads; they divide dim.
        key_size: channels of a head's queries and keys, an even number with rope; None for dim / (2 heads).
        value_size: channels of a head's values, 2 or more; None for dim / heads.
        rope: rotary positions; without them only the fading tells where a token stood.

    Cost: time ``t * h * k * v`` beside the projections, linear in t. State: ``h * k * v`` numbers. It holds no
    position: between pieces the memory is turned back, as if the next token were the first, so that nothing grows over
    long texts.

    Raises:
        ValueError: heads that do not divide dim, a key_size below 1, a value_size below 4, an odd key_size with rope.

    Source: Sun et al. 2023, "Retentive Network", arXiv:2307.08621, with plain rotations in place of xPos.
    """

    paper: ClassVar[str] = "Sun et al. 2023, arXiv:2307.08621"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        rope: bool = True,
    ) -> None:
        super().__init__()
        default = 2 * max(1, dim // (4 * max(heads, 1)))
        self.key_size, self.value_size = memory_sizes(dim, heads, key_size, default, value_size)
        if rope and self.key_size % 2:
            raise ValueError(f"rope turns channels in pairs: with it key_size must be even, not {self.key_size}")
        self.heads, self.rope = heads, rope
        width = heads * self.value_size
        self.project_in = nn.Linear(dim, heads * (2 * self.key_size + self.value_size), bias=False)
        self.heads_out = NormedHeads(dim, heads, self.value_size, nn.Linear(dim, width, bias=False))

    def _heads(self, x: Tensor) -> Heads:
        query, key, value = split_memory_heads(self.project_in(x), self.heads, self.key_size, self.value_size)
        if self.rope:
            query, key = turned(query), turned(key)
        return Heads(query * self.key_size**-0.5, key, value, _log_gamma(self.heads, x))

    def _remember(self, heads: Heads, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        read, state = super()._remember(heads, state, documents)
        return read, turned_back(state, heads.query.shape[1]) if self.rope else state

    def _write(self, read: Tensor, x: Tensor) -> Tensor:
        return self.heads_out(read, x)


def _log_gamma(heads: int, x: Tensor) -> Tensor:
    """The log decay of each head, ``(h,)``."""
    head = torch.arange(heads, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    return torch.log1p(-torch.exp2(-5 - head))
