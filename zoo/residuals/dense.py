"""Learned averages over depth."""

from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from zoo import Residual
from zoo.residuals.norms import depth_scale, make_norm, make_norms

History: TypeAlias = tuple[Tensor, ...]


class Dense(Residual):
    """Reads a learned average of the embedding and of all earlier outputs.

        y_s    = sum_{j<=s} a_sj x_j
        read_s = norm_s(y_s)
        x_s+1  = y_s + scale * written_s
        closed = norm(y_S)

    where x_0 is the embedded tokens, S the number of sites, and the scale (2 layers)^-1/2. The weights a_sj are
    numbers of any sign. They start at 1 for j = s and at 0 elsewhere, so that the model starts as with `pre-norm`.

    The stream holds every output, so memory and time grow with the square of the depth.

    Source: DenseFormer, Pagliardini et al. 2024, arXiv:2402.02622, which averages after whole blocks; here after every
    part.
    """

    starts_as_pre_norm: ClassVar[bool] = True
    paper: ClassVar[str] = "Pagliardini et al. 2024, arXiv:2402.02622"

    def __init__(self, dim: int, *, sites: int, layers: int) -> None:
        super().__init__(dim, sites=sites)
        self.scale = depth_scale(layers)
        self.norms = make_norms("rms", dim, sites)
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(site + 1)) for site in range(sites + 1))
        self.norm = make_norm("rms", dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Give all weight to the newest output."""
        for weights in self.weights:
            nn.init.zeros_(weights)
            nn.init.ones_(weights[-1:])

    def open(self, embedded: Tensor) -> History:
        """(b, t, d) to the outputs so far, (b, t, d) each."""
        return (embedded,)

    def read(self, stream: History, site: int) -> Tensor:
        """The outputs so far to (b, t, d)."""
        return self.norms[site](self._average(stream, site))

    def write(self, stream: History, site: int, written: Tensor) -> History:
        """The outputs so far to one more."""
        return *stream, torch.add(self._average(stream, site), written, alpha=self.scale)

    def close(self, stream: History) -> Tensor:
        """All outputs to (b, t, d)."""
        return self.norm(self._average(stream, self.sites))

    def show(self, stream: History) -> Tensor:
        """The newest output."""
        return stream[-1]

    def added(self, stream: History, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - whatever the stream is
        """The write with its scale, without what the average changes beside it."""
        return written * self.scale

    def _average(self, stream: History, site: int) -> Tensor:
        weights = self.weights[site].unbind()
        average = weights[0] * stream[0]
        for weight, output in zip(weights[1:], stream[1:], strict=True):
            average = average + weight * output
        return average
