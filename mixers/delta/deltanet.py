"""DeltaNet: linear attention that replaces what a key held, in place of adding to it."""

from typing import ClassVar

from torch import Tensor, nn

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.erasing import Erasing
from mixers.layers.memory_gates import EraseGate
from mixers.layers.memory_panels import erased_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.erase import erase
from zoo import Panel


class DeltaNet(Erasing):
    """A memory from keys to values a head, in which each token corrects what its key holds.

        S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T        y_t = S_t^T q_t * k**-0.5
        q, k, v = silu(conv(W x)),  q and k of length 1           beta_t = sigmoid(W_beta x_t)
        write_t = W_out [ rmsnorm(y_t) * gain ]

    S: the memory, k by v channels; beta: how much of what k_t held is replaced by v_t. With beta = 1 the memory holds
    v_t under k_t, whatever it held before. It is a step of gradient descent on ``|S^T k_t - v_t|^2 / 2``.

    Options:
        heads: heads, each with a memory; they divide dim unless there is a value_size.
        key_size: channels k a head; None for as many as values have.
        value_size: channels v a head; None for dim / heads.
        kernel_size: taps of the convolution, up to 8; without one there is little to learn.
        negative: beta up to 2, a memory that can change its sign along a key: parity can be learned.
        gated: multiply what the heads read by silu(W_gate x_t) after the norm.

    Cost: time ``t * (4 d**2 + d * (2 k + 64))`` with k = v = d / heads, by chunks of 32 tokens. State:
    ``heads * k * v`` numbers, and ``3 * heads * (2 k + v)`` of the convolution.

    Raises:
        ValueError: heads that do not divide dim, a size below 1, a kernel_size that is out of its range.

    Source: Schlag et al. 2021, arXiv:2102.11174; in parallel and with a convolution, Yang et al. 2024,
    arXiv:2406.06484; negative, Grazzi et al. 2024, arXiv:2411.12537.
    """

    paper: ClassVar[str] = "Yang et al. 2024, arXiv:2406.06484"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        kernel_size: int = 4,
        negative: bool = False,
        gated: bool = False,
    ) -> None:
        super().__init__()
        key_size, value_size = head_sizes(dim, heads, key_size, value_size)
        gate = nn.Linear(dim, heads * value_size, bias=False) if gated else None
        self.heads_in = ConvolvedHeads(dim, heads, key_size, value_size, kernel_size)
        self.erased = EraseGate(dim, heads, negative=negative)
        self.heads_out = NormedHeads(dim, heads, value_size, gate)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, and what each token erases."""
        return [*super().panels(x), erased_panel(self.erased(x[:1]))]

    def _remember(  # noqa: PLR0917 - as the base class
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        beta = self.erased(x)[..., None]
        return erase(query, -key, beta * key, value, state=state, documents=documents)
