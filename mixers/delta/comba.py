"""Comba: a gated delta rule as a closed loop, with feedback from the state and from the output."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.erasing import Erasing
from mixers.layers.memory_gates import DecayGate, EraseGate
from mixers.layers.memory_panels import erased_panel, kept_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.erase import erase
from zoo import Panel


class Comba(Erasing):
    """A memory that decays, and from which each token subtracts part of what its key held before.

        S_t = exp(g_t) S_{t-1} + beta_t k_t (v_t - S_{t-1}^T p_t)^T        p_t = sigmoid(delta) k_t
        y_t = S_t^T (q_t - D k_t) * k**-0.5
        g_t = -exp(A) softplus(W_g x_t + b)        beta_t = sigmoid(W_beta x_t)
        write_t = W_out [ rmsnorm(y_t) * gain * silu(W_gate x_t) ]

    S: the memory of a head, k by v channels; q, k, v: silu of a convolution of what is read, q and k of length 1; g:
    one log decay a head; delta and D: learned, a number a head each. Feedback reads the state before it decays, where
    gated-deltanet reads the decayed one; D takes from the output what the token's own key holds.

    Options:
        heads: heads, each with a memory; they divide dim unless there is a value_size.
        key_size: channels k a head; None for half of value_size.
        value_size: channels v a head; None for dim / heads.
        kernel_size: taps of the convolution, up to 8.
        correction: what D starts at; large models start at 1.

    Cost: time ``t * (4 d**2 + d * (1.5 v + 64))`` by default, by chunks of 32 tokens. State: ``heads * k * v``
    numbers, and ``3 * heads * (2 k + v)`` of the convolution.

    Raises:
        ValueError: heads that do not divide dim, a size below 1, a kernel_size that is out of its range.

    Source: Hu et al. 2025, arXiv:2506.02475. Keys are scaled to length 1 before delta scales them, which would be
    without effect otherwise.
    """

    paper: ClassVar[str] = "Hu et al. 2025, arXiv:2506.02475"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_size: int | None = None,
        value_size: int | None = None,
        kernel_size: int = 4,
        correction: float = 0.02,
    ) -> None:
        super().__init__()
        key_size, value_size = head_sizes(dim, heads, key_size, value_size, narrow_keys=True)
        self.start = correction
        self.heads_in = ConvolvedHeads(dim, heads, key_size, value_size, kernel_size)
        self.decay = DecayGate(nn.Linear(dim, heads, bias=False), heads)
        self.erased = EraseGate(dim, heads, negative=False)
        self.feedback = nn.Parameter(torch.empty(heads))
        self.correction = nn.Parameter(torch.empty(heads))
        gate = nn.Linear(dim, heads * value_size, bias=False)
        self.heads_out = NormedHeads(dim, heads, value_size, gate)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with delta at 1, a feedback of 0.73, and D at the option."""
        nn.init.ones_(self.feedback)
        nn.init.constant_(self.correction, self.start)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, what each head keeps, and what it erases."""
        x = x[:1]
        return [*super().panels(x), kept_panel(self.decay(x)), erased_panel(self.erased(x) * self.feedback.sigmoid())]

    def _remember(  # noqa: PLR0917 - as the base class
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, state: Tensor | None, documents: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        log_decay, beta = self.decay(x), self.erased(x)[..., None]
        # Queries come scaled, keys do not.
        query = query - self.correction[:, None] * key.shape[-1] ** -0.5 * key
        a = -self.feedback.sigmoid()[:, None] * key
        return erase(query, a, beta * key, value, log_decay, state, documents=documents)
