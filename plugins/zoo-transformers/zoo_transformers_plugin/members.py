"""The parts of pretrained models that the zoo itself has no form of."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo import ChannelMixer, Residual


class BiasedMLP(ChannelMixer):
    """Two-layer network with biases, as in GPT-2.

        W_o activation(W_i x + b_i) + b_o

    Options:
        hidden: the hidden width; None for four times the model width.
        activation: gelu-tanh is the approximation that GPT-2 was trained with.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """

    paper: ClassVar[str] = "Radford et al. 2019"

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        activation: Literal["gelu-tanh", "gelu", "relu", "silu"] = "gelu-tanh",
    ) -> None:
        super().__init__()
        width = 4 * dim if hidden is None else hidden
        if width < 1:
            raise ValueError(f"hidden={hidden} should be 1 or more")
        self.activation = activation
        self.project_in = nn.Linear(dim, width)
        self.project_out = nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d), each token by itself."""
        return self.project_out(self._activate(self.project_in(x)))

    def _activate(self, hidden: Tensor) -> Tensor:
        match self.activation:
            case "relu":
                return F.relu(hidden)
            case "silu":
                return F.silu(hidden)
            case _:
                return F.gelu(hidden, approximate="tanh" if self.activation == "gelu-tanh" else "none")


class PretrainedNorm(Residual):
    """Normalises what is read, and adds what is written as it is.

        read_s  = norm_s(x)
        x      <- x + written_s
        closed  = norm(x)

    It is ``pre-norm(scale=none)`` with the number that a pretrained model adds to the mean square or the variance.

    Options:
        norm: rms, or layer (LayerNorm with biases).
        eps: the number.

    Source: Xiong et al. 2020, arXiv:2002.04745.
    """

    additive: ClassVar[bool] = True
    paper: ClassVar[str] = "Xiong et al. 2020, arXiv:2002.04745"

    def __init__(self, dim: int, *, sites: int, norm: Literal["rms", "layer"] = "rms", eps: float = 1e-5) -> None:
        super().__init__(dim, sites=sites)
        if eps < 0:
            raise ValueError(f"eps={eps} should be 0 or more")
        kind: type[nn.RMSNorm | nn.LayerNorm] = nn.RMSNorm if norm == "rms" else nn.LayerNorm
        self.norms = nn.ModuleList(kind(dim, eps=eps) for _ in range(sites))
        self.norm = kind(dim, eps=eps)

    def read(self, stream: Tensor, site: int) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norms[site](stream)

    def write(self, stream: Tensor, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - all sites add alike
        """(b, t, d) to (b, t, d)."""
        return stream + written

    def close(self, stream: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norm(stream)

    def added(self, stream: Tensor, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - whatever the stream is
        """The write, exactly."""
        return written
