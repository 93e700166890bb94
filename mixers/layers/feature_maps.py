"""The feature maps of linear attention with their parameters; see `mixers.ops.features`."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mixers.ops.features import elu, hedgehog, identity, rebased, relu, taylor

Feature = Literal["elu", "relu", "identity", "hedgehog", "taylor", "rebased"]

SECOND_ORDER = ("taylor", "rebased")
"""Maps with a feature for each pair of channels: keys should be narrow."""

NARROW = 16
"""The keys of these maps have no more channels unless they are given a size, as in their papers."""


class FixedFeatures(nn.Module):
    """A map without parameters: elu, relu, identity or taylor."""

    def __init__(self, name: Feature) -> None:
        super().__init__()
        self.map = {"elu": elu, "relu": relu, "identity": identity, "taylor": taylor}[name]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, t, h, k)``."""
        return self.map(x)


class HedgehogFeatures(nn.Module):
    """A softmax of a learned linear map of each head and of its negative, which starts as the identity.

    Args:
        heads: heads.
        size: channels k a head; ``2 k`` features.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"bias"})

    def __init__(self, heads: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, size, size))
        self.bias = nn.Parameter(torch.empty(heads, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the identity."""
        with torch.no_grad():
            self.weight.copy_(torch.eye(self.weight.shape[-1], device=self.weight.device))
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, t, h, k)`` to ``(b, t, h, 2 k)``."""
        return hedgehog(x, self.weight, self.bias)


class RebasedFeatures(nn.Module):
    """Squares and products of the normalised channels of a head, with a gain and a bias a channel.

    Args:
        size: channels k a head; ``k (k + 1) / 2`` features.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.empty(size))
        self.bias = nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as a layer norm does."""
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, t, h, k)`` to ``(b, t, h, k (k + 1) / 2)``."""
        return rebased(x, self.gain, self.bias)


def feature_map(name: Feature, heads: int, size: int) -> nn.Module:
    """A map of queries or of keys, by name, for so many heads of so many channels."""
    if name == "hedgehog":
        return HedgehogFeatures(heads, size)
    return RebasedFeatures(size) if name == "rebased" else FixedFeatures(name)


def feature_size(name: Feature, size: int) -> int:
    """The default channels of a head's keys where its values have so many."""
    return min(size, NARROW) if name in SECOND_ORDER else size
