"""DeltaProduct: several delta rules a token, a product of reflections."""

from typing import ClassVar

from torch import Tensor, nn

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.erasing import Erasing
from mixers.layers.memory_gates import DecayGate, EraseGate
from mixers.layers.memory_panels import erased_panel, kept_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.delta_product import delta_product
from zoo import Panel


class DeltaProduct(Erasing):
    """A memory that decays once a token, and in which each token corrects what several keys hold, one after the other.

        S <- exp(g_t) S_{t-1},  then for j = 1 .. n    S <- S + beta_tj k_tj (v_tj - S^T k_tj)^T
        S_t = S        y_t = S_t^T q_t * k**-0.5       write_t = W_out [ rmsnorm(y_t) * gain ]

    S: the memory of a head, k by v channels; q, k, v: silu of a convolution of what is read, q and keys of length 1;
    g: one log decay a head, ``-exp(A) softplus(W_g x_t + b)``; beta: ``2 sigmoid(W_beta x_t)``. A token multiplies the
    memory by n generalised reflections: two make any rotation in a plane, with which permutations can be tracked.

    Options:
        steps: keys and values n a token.
        heads: heads, each with a memory; they divide dim unless there is a value_size.
        key_size: channels k a head; None for half of value_size.
        value_size: channels v a head; None for dim / heads.
        kernel_size: taps of the convolution, up to 8.
        negative: beta up to 2, without which a step is no reflection.
        gated: multiply what the heads read by silu(W_gate x_t) after the norm.

    Cost: time ``t * d**2 * (1.5 + 1.5 steps)`` by default, and ``t * steps * d * (1.5 v + 64)``, by chunks of 32 steps.
    State: ``heads * k * v`` numbers, and ``3 * heads * (k + steps * (k + v))`` of the convolution.

    Raises:
        ValueError: heads that do not divide dim, steps or a size below 1, a kernel_size that is out of its range.

    Source: Siems et al. 2025, arXiv:2502.10297.
    """

    paper: ClassVar[str] = "Siems et al. 2025, arXiv:2502.10297"

    def __init__(
        self,
        dim: int,
        *,
        steps: int = 2,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        kernel_size: int = 4,
        negative: bool = True,
        gated: bool = False,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be 1 or more, not {steps}")
        key_size, value_size = head_sizes(dim, heads, key_size, value_size, narrow_keys=True)
        gate = nn.Linear(dim, heads * value_size, bias=False) if gated else None
        self.by_step = (steps, heads)
        self.heads_in = ConvolvedHeads(dim, heads, key_size, value_size, kernel_size, steps=steps)
        self.decay = DecayGate(nn.Linear(dim, heads, bias=False), heads)
        self.erased = EraseGate(dim, steps * heads, negative=negative)
        self.heads_out = NormedHeads(dim, heads, value_size, gate)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, what each head keeps, and what it erases, the mean of its steps."""
        erased = self.erased(x[:1]).unflatten(-1, self.by_step).transpose(-1, -2)
        return [*super().panels(x), kept_panel(self.decay(x[:1])), erased_panel(erased)]

    def _heads(
        self, x: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, state = super()._heads(x, state, documents)
        return query, key.unflatten(2, self.by_step), value.unflatten(2, self.by_step), state

    def _remember(  # noqa: PLR0917 - as the base class
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        beta = self.erased(x).unflatten(-1, self.by_step)
        return delta_product(query, key, value, beta, self.decay(x), state, documents=documents)
