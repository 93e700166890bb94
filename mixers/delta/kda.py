"""Kimi Delta Attention: the delta rule on a memory whose key channels decay each by itself."""

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


class KDA(Erasing):
    """The delta rule on a memory whose key channels decay, each as much as the token asks for.

        S' = Diag(exp(g_t)) S_{t-1}        S_t = S' + beta_t k_t (v_t - S'^T k_t)^T        y_t = S_t^T q_t * k**-0.5
        g_t = floor * sigmoid(exp(A) (W_2 W_1 x_t + b))        beta_t = sigmoid(W_beta x_t)
        write_t = W_out [ rmsnorm(y_t) * gain * sigmoid(W_4 W_3 x_t) ]

    S: the memory of a head, k by v channels; q, k, v: silu of a convolution of what is read, q and k of length 1; g: a
    log decay for each key channel of a head, A one number a head. Without a floor, ``g_t = -exp(A) softplus(W_2 W_1 x_t
    + b)``.

    Options:
        heads: heads, each with a memory; they divide dim unless there is a value_size.
        key_size: channels k a head; None for as many as values have.
        value_size: channels v a head; None for dim / heads.
        kernel_size: taps of the convolution, up to 8.
        rank: of both gates; None for value_size.
        floor: the least log decay, below 0; None for no limit, which costs a CPU a little more time.
        negative: beta up to 2, a memory that can change its sign along a key.

    Cost: time ``t * (4 d**2 + d * (4 rank + 2 k + 64))`` with k = v = d / heads, by chunks of 32 tokens. State:
    ``heads * k * v`` numbers, and ``3 * heads * (2 k + v)`` of the convolution.

    Raises:
        ValueError: heads that do not divide dim, a size or a rank below 1, a floor that is not below 0, a kernel_size
            that is out of its range.

    Source: Kimi Team 2025, "Kimi Linear", arXiv:2510.26692, without the floor, which later models have.
    """

    paper: ClassVar[str] = "Kimi Team 2025, arXiv:2510.26692"

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
        key_size, value_size = head_sizes(dim, heads, key_size, value_size)
        rank = value_size if rank is None else rank
        if rank < 1:
            raise ValueError(f"rank must be 1 or more, not {rank}")
        asked = low_rank(dim, rank, heads * key_size)
        self.heads_in = ConvolvedHeads(dim, heads, key_size, value_size, kernel_size)
        self.decay = DecayGate(asked, heads, key_size, slowest=1.0, floor=floor)
        self.erased = EraseGate(dim, heads, negative=negative)
        self.heads_out = NormedHeads(dim, heads, value_size, low_rank(dim, rank, heads * value_size), torch.sigmoid)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, what each head keeps, and what it erases."""
        return [*super().panels(x), kept_panel(self.decay(x[:1])), erased_panel(self.erased(x[:1]))]

    def _remember(  # noqa: PLR0917 - as the base class
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        log_decay, beta = self.decay(x), self.erased(x)[..., None]
        # It is the decayed state that is erased.
        a = -log_decay.exp() * key
        return erase(query, a, beta * key, value, log_decay, state, floor=self.decay.floor, documents=documents)
