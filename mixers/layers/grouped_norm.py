"""A norm of groups of channels, such as those of a head."""

import torch.nn.functional as F
from torch import Tensor, nn, ones

from mixers.ops.activations import at_least_float32


class GroupedNorm(nn.Module):
    """Normalises the channels of each group by themselves, then multiplies each channel by a learned gain.

    Of what is written, that is, and not of what is read: a mixer does not normalise its reads.

    Args:
        width: channels in all.
        groups: of neighbouring channels, of one size.
        eps: added to the mean square.
        center: subtract the mean first, as a layer norm does; without, it is an RMS norm.
        bias: add a learned constant a channel.

    Raises:
        ValueError: groups that do not divide the width.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467; Wu & He 2018, arXiv:1803.08494.
    """

    def __init__(
        self, width: int, groups: int = 1, *, eps: float = 1e-5, center: bool = False, bias: bool = False
    ) -> None:
        super().__init__()
        if groups < 1 or width % groups:
            raise ValueError(f"groups must divide the width that is normalised, {width}, not {groups}")
        self.groups, self.eps, self.center = groups, eps, center
        self.weight = nn.Parameter(ones(width))
        self.bias = nn.Parameter(ones(width)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with gains of one and constants of zero."""
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(..., d)``, in float32 at least."""
        grouped = at_least_float32(x).unflatten(-1, (self.groups, -1))
        shape = grouped.shape[-1:]
        if self.center:
            normalised = F.layer_norm(grouped, shape, eps=self.eps)
        else:
            normalised = F.rms_norm(grouped, shape, eps=self.eps)
        scaled = normalised.flatten(-2) * self.weight
        return scaled if self.bias is None else scaled + self.bias
