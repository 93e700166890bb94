"""Gated Delta Networks 2: what is erased and what is written have gates of their own, channel by channel."""

from typing import ClassVar

import torch
from torch import Tensor

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.erasing import Erasing
from mixers.layers.memory_gates import DecayGate, EraseGate
from mixers.layers.memory_panels import erased_panel, kept_panel
from mixers.layers.normed_heads import NormedHeads, low_rank
from mixers.ops.erase import erase
from zoo import Panel


class GDN2(Erasing):
    """A memory whose key channels decay, which is erased along part of a key and written with part of a value.

        S' = Diag(exp(g_t)) S_{t-1}    S_t = S' + k_t (w_t * v_t - S'^T (b_t * k_t))^T    y_t = S_t^T q_t * k**-0.5
        b_t = sigmoid(W_b x_t)         w_t = sigmoid(W_w x_t)         g_t = floor * sigmoid(exp(A) (W_2 W_1 x_t + c))
        write_t = W_out [ rmsnorm(y_t) * gain * sigmoid(W_4 W_3 x_t) ]

    S: the memory of a head, k by v channels; q, k, v: silu of a convolution of what is read, q and k of length 1; g: a
    log decay for each key channel; b: how much of the key reads what is erased; w: how much of the value is written.
    With b = w = beta, one number a head, it is the delta rule of kda. Without a floor, ``g_t = -exp(A) softplus(W_2 W_1
    x_t + c)``.

    Options:
        heads: heads, each with a memory; they divide dim unless there is a value_size.
        key_size: channels k a head; None for half of value_size.
        value_size: channels v a head; None for dim / heads.
        kernel_size: taps of the convolution, up to 8.
        rank: of the decay and the output gate; None for value_size.
        floor: the least log decay, below 0; None for no limit, which costs a CPU a little more time.
        negative: b up to 2, a memory that can change its sign along a key.

    Cost: time ``t * (4.5 d**2 + d * (3.5 rank + 1.5 v + 64))`` by default, by chunks of 32 tokens. State:
    ``heads * k * v`` numbers, and ``3 * heads * (2 k + v)`` of the convolution.

    Raises:
        ValueError: heads that do not divide dim, a size or a rank below 1, a floor that is not below 0, a kernel_size
            that is out of its range.

    Source: arXiv:2605.22791, 2026.
    """

    paper: ClassVar[str] = "2026, arXiv:2605.22791"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        kernel_size: int = 4,
        rank: int | None = None,
        floor: float | None = -5.0,
        negative: bool = False,
    ) -> None:
        super().__init__()
        key_size, value_size = head_sizes(dim, heads, key_size, value_size, narrow_keys=True)
        rank = value_size if rank is None else rank
        if rank < 1:
            raise ValueError(f"rank must be 1 or more, not {rank}")
        asked = low_rank(dim, rank, heads * key_size)
        self.heads_in = ConvolvedHeads(dim, heads, key_size, value_size, kernel_size)
        self.decay = DecayGate(asked, heads, key_size, slowest=1.0, floor=floor)
        self.erased = EraseGate(dim, heads * key_size, negative=negative)
        self.written = EraseGate(dim, heads * value_size, negative=False)
        self.heads_out = NormedHeads(dim, heads, value_size, low_rank(dim, rank, heads * value_size), torch.sigmoid)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, what each head keeps, and what it erases."""
        x = x[:1]
        erased = self.erased(x).unflatten(-1, (-1, self.heads_in.key_size))
        return [*super().panels(x), kept_panel(self.decay(x)), erased_panel(erased)]

    def _heads(
        self, x: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, state = super()._heads(x, state, documents)
        written = self.written(x).unflatten(-1, value.shape[2:])
        return query, key, value * written.to(value.dtype), state

    def _remember(  # noqa: PLR0917 - as the base class
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        log_decay, erased = self.decay(x), self.erased(x).unflatten(-1, key.shape[2:])
        # It is the decayed state that is erased.
        a = -log_decay.exp() * erased * key
        return erase(query, a, key, value, log_decay, state, floor=self.decay.floor, documents=documents)
