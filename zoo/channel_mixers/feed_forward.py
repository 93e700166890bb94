"""The feed-forward networks that most models have between their token mixers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import ChannelMixer


class _Gated(ChannelMixer):
    """``W_o (activation(W_g x) * W_v x)``, where a subclass has the activation."""

    def __init__(self, dim: int, expansion: float = 8 / 3, hidden: int | None = None) -> None:
        super().__init__()
        width = _hidden(dim, expansion, hidden)
        self.project_in = nn.Linear(dim, 2 * width, bias=False)
        self.project_out = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d), each token by itself."""
        gate, value = self.project_in(x).chunk(2, dim=-1)
        return self.project_out(self._activate(gate) * value)

    def _activate(self, gate: Tensor) -> Tensor:
        raise NotImplementedError


class SwiGLU(_Gated):
    """Gated two-layer network with SiLU.

        W_o (silu(W_g x) * W_v x)

    Options:
        expansion: hidden width over model width; the default has as many parameters as an MLP of expansion 4.
        hidden: the hidden width itself, taken exactly; None for that of the expansion, a multiple of 16.

    Source: Shazeer 2020, arXiv:2002.05202.
    """

    paper = "Shazeer 2020, arXiv:2002.05202"

    def _activate(self, gate: Tensor) -> Tensor:
        return F.silu(gate)


class GEGLU(_Gated):
    """Gated two-layer network with GELU.

        W_o (gelu(W_g x) * W_v x)

    Options:
        expansion: hidden width over model width; the default has as many parameters as an MLP of expansion 4.
        hidden: the hidden width itself, taken exactly; None for that of the expansion, a multiple of 16.

    Source: Shazeer 2020, arXiv:2002.05202, with the approximation by tanh that T5 v1.1 and Gemma have.
    """

    paper = "Shazeer 2020, arXiv:2002.05202"

    def _activate(self, gate: Tensor) -> Tensor:
        return F.gelu(gate, approximate="tanh")


class _Plain(ChannelMixer):
    """``W_o activation(W_i x)``, where a subclass has the activation."""

    def __init__(self, dim: int, expansion: float = 4.0, hidden: int | None = None) -> None:
        super().__init__()
        width = _hidden(dim, expansion, hidden)
        self.project_in = nn.Linear(dim, width, bias=False)
        self.project_out = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d), each token by itself."""
        return self.project_out(self._activate(self.project_in(x)))

    def _activate(self, hidden: Tensor) -> Tensor:
        raise NotImplementedError


class MLP(_Plain):
    """Two-layer network with GELU.

        W_o gelu(W_i x)

    Options:
        expansion: hidden width over model width.
        hidden: the hidden width itself, taken exactly; None for that of the expansion, a multiple of 16.

    Source: Vaswani et al. 2017, arXiv:1706.03762, with the activation of Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """

    paper = "Vaswani et al. 2017, arXiv:1706.03762"

    def _activate(self, hidden: Tensor) -> Tensor:
        return F.gelu(hidden, approximate="tanh")


class ReLU2(_Plain):
    """Two-layer network with squared ReLU.

        W_o relu(W_i x)**2

    A hidden channel whose input is negative is exactly zero.

    Options:
        expansion: hidden width over model width.
        hidden: the hidden width itself, taken exactly; None for that of the expansion, a multiple of 16.

    Source: So et al. 2021, "Primer", arXiv:2109.08668.
    """

    paper = "So et al. 2021, arXiv:2109.08668"

    def _activate(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden).square()


class NoChannelMixer(ChannelMixer):
    """No channel mixer: the layer has its token mixers only."""

    paper = "none needed"
    empty = True

    def forward(self, x: Tensor) -> Tensor:
        """Zeros, where it is called by itself."""
        return torch.zeros_like(x)


def _hidden(dim: int, expansion: float, hidden: int | None) -> int:
    """The hidden width: as given, or that of the expansion, rounded up to a multiple of 16, which matrix units like."""
    if not expansion > 0:
        raise ValueError(f"expansion={expansion} should be greater than 0")
    if hidden is not None:
        if hidden < 1:
            raise ValueError(f"hidden={hidden} should be 1 or more")
        return hidden
    return -(-max(1, round(dim * expansion)) // 16) * 16
