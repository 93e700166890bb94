"""A token mixer of ten lines, as a complete plugin of the mixer zoo."""

import torch
from torch import Tensor

from zoo import TokenMixer, hookimpl


class RunningMean(TokenMixer):
    """Each token writes the mean of all reads up to itself.

        y_t = 1/t sum_{s<=t} x_s

    Cost: linear in t; it streams by the default ``step``, whose state is every read so far.

    Source: the cumulative average of average attention, Zhang et al. 2018, arXiv:1805.00631.
    """

    paper = "Zhang et al. 2018, arXiv:1805.00631"

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return x.cumsum(1) / count[:, None]


@hookimpl
def zoo_mixers() -> dict[str, type[TokenMixer]]:
    """The mixers of this plugin, by name."""
    return {"running-mean": RunningMean}
