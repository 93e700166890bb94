"""Gated DeltaNet: the delta rule on a memory that decays."""

from typing import ClassVar

from torch import Tensor, nn

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.erasing import Erasing
from mixers.layers.memory_gates import DecayGate, EraseGate
from mixers.layers.memory_panels import erased_panel, kept_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.erase import erase
from zoo import Panel


class GatedDeltaNet(Erasing):
    """The delta rule on a memory that decays, as much as each token asks for.

        S' = exp(g_t) S_{t-1}        S_t = S' + beta_t k_t (v_t - S'^T k_t)^T        y_t = S_t^T q_t * k**-0.5
        g_t = -exp(A) softplus(W_g x_t + b)        beta_t = sigmoid(W_beta x_t)
        write_t = W_out [ rmsnorm(y_t) * gain * silu(W_gate x_t) ]

    S: the memory of a head, k by v channels; q, k, v: silu of a convolution of what is read, q and k of length 1; g:
    one log decay a head. The decay forgets everything alike, the delta rule only what is under one key.

    Options:
        heads: heads of values, each with a memory; they divide dim unless there is a value_size.
        key_heads: heads of queries and keys, each used by heads / key_heads memories; None for as many as heads.
        key_size: channels k a head; None for half of value_size.
        value_size: channels v a head; None for dim / heads.
        kernel_size: taps of the convolution, up to 8.
        negative: beta up to 2, a memory that can change its sign along a key.

    Cost: time ``t * (4 d**2 + d * (1.5 v + 64))`` by default, by chunks of 32 tokens. State: ``heads * k * v``
    numbers, and ``3 * (2 * key_heads * k + heads * v)`` of the convolution.

    Raises:
        ValueError: heads that do not divide dim, key_heads that do not divide heads, a size below 1, a kernel_size that
            is out of its range.

    Source: Yang et al. 2024, arXiv:2412.06464. Qwen3-Next has key_heads=16 of 32 heads, with k = v = 128; OLMo Hybrid
    has negative, and v = 2 k = 1.5 d / heads.
    """

    paper: ClassVar[str] = "Yang et al. 2024, arXiv:2412.06464"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        kernel_size: int = 4,
        negative: bool = False,
    ) -> None:
        super().__init__()
        key_size, value_size = head_sizes(dim, heads, key_size, value_size, narrow_keys=True)
        self.heads_in = ConvolvedHeads(dim, heads, key_size, value_size, kernel_size, key_heads=key_heads)
        self.decay = DecayGate(nn.Linear(dim, heads, bias=False), heads)
        self.erased = EraseGate(dim, heads, negative=negative)
        gate = nn.Linear(dim, heads * value_size, bias=False)
        self.heads_out = NormedHeads(dim, heads, value_size, gate)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, what each head keeps, and what it erases."""
        return [*super().panels(x), kept_panel(self.decay(x[:1])), erased_panel(self.erased(x[:1]))]

    def _remember(  # noqa: PLR0917 - as the base class
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        log_decay, beta = self.decay(x), self.erased(x)[..., None]
        # It is the decayed state that is erased.
        a = -log_decay.exp()[..., None] * key
        return erase(query, a, beta * key, value, log_decay, state, documents=documents)
