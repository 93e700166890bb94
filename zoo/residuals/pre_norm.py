"""Norm on the read, scaled addition of the write."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from zoo import Residual
from zoo.residuals.norms import Norm, depth_scale, make_norm, make_norms


class PreNorm(Residual):
    """Normalises what is read, and adds what is written, scaled by the depth.

        read_s  = norm_s(x)
        x      <- x + scale_s * written_s
        closed  = norm(x)

    where x is the stream, and the scale is (2 layers)^-1/2, 1, or a learned gain a channel.

    Options:
        norm: rms, layer (LayerNorm with biases) or none, of every read and of the end.
        scale: of the writes. depth keeps the size of the stream however many layers there are, none leaves them as
            they are, learned has a gain a channel and a site, which starts at the depth's scale (LayerScale).
        initial_scale: where learned gains start instead; 0 is ReZero, 1e-4 CaiT.

    Source: Xiong et al. 2020, arXiv:2002.04745; of the scale, Yang et al. 2023, arXiv:2310.02244; of the learned ones,
    Touvron et al. 2021, arXiv:2103.17239, and Bachlechner et al. 2020, arXiv:2003.04887.
    """

    additive: ClassVar[bool] = True
    paper: ClassVar[str] = "Xiong et al. 2020, arXiv:2002.04745"

    def __init__(
        self,
        dim: int,
        *,
        sites: int,
        layers: int,
        norm: Norm = "rms",
        scale: Literal["depth", "none", "learned"] = "depth",
        initial_scale: float | None = None,
    ) -> None:
        super().__init__(dim, sites=sites)
        if initial_scale is not None and scale != "learned":
            raise ValueError(f"initial_scale={initial_scale} is of learned scales: set scale=learned as well")
        self.scale = 1.0 if scale == "none" else depth_scale(layers)
        self.initial_scale = self.scale if initial_scale is None else initial_scale
        self.norms = make_norms(norm, dim, sites)
        learned = sites if scale == "learned" else 0
        self.gains = nn.ParameterList(nn.Parameter(torch.empty(dim)) for _ in range(learned))
        self.norm = make_norm(norm, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the learned scales."""
        for gain in self.gains:
            nn.init.constant_(gain, self.initial_scale)

    def read(self, stream: Tensor, site: int) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norms[site](stream)

    def write(self, stream: Tensor, site: int, written: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        if len(self.gains):
            return stream + self.gains[site] * written
        return torch.add(stream, written, alpha=self.scale)

    def close(self, stream: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norm(stream)

    def added(self, stream: Tensor, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - whatever the stream is
        """The write with its scale, exactly."""
        return written * (self.gains[site] if len(self.gains) else self.scale)
