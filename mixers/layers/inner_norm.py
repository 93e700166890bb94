"""What a memory that is trained at test time is trained through, and read through: a layer norm a head."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.ops.activations import at_least_float32
from mixers.ops.inner_loss import layer_norm_gradient


class InnerNorm(nn.Module):
    """A head's layer norm, whose gain and bias the memory's loss has too: ``q + LN(y)`` for what is read, y.

    The memory learns what a value adds to its key, so what is read is added to the query.

    Args:
        heads: heads.
        size: channels a head.
        epsilon: added to the variance.

    Raises:
        ValueError: an epsilon that is not above 0.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"gain", "bias"})

    def __init__(self, heads: int, size: int, epsilon: float) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon must be above 0, not {epsilon}: it is added to a variance that can be 0")
        self.epsilon = epsilon
        self.gain = nn.Parameter(torch.empty(heads, size))
        self.bias = nn.Parameter(torch.empty(heads, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with a gain of 1 and a bias of 0."""
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.bias)

    def forward(self, query: Tensor, y: Tensor) -> Tensor:
        """Norm what is read, ``(b, t, h, k)``, and add it to the queries of the same shape."""
        wide = at_least_float32(y)
        centred = wide - wide.mean(-1, keepdim=True)
        normed = centred * (centred.square().mean(-1, keepdim=True) + self.epsilon).rsqrt()
        return (query + normed * self.gain + self.bias).to(y.dtype)

    def gradient(self, prediction: Tensor, target: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """The gradient of the loss that goes with this norm, as operators ask for it."""
        return layer_norm_gradient(prediction, target, gain, bias, self.epsilon)
