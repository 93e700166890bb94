"""Several streams, whose mixing is doubly stochastic."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from zoo.residuals.hyper_connections import Connections, Streams, project, unit_rms

FAVOURED = 0.7
"""The weight of stream s mod n in the read of site s, at first; the others share the rest. Were they equal, the streams
would get equal gradients, and stay equal for ever."""


class ManifoldHyperConnections(Streams):
    """Hyper-connections whose mixing neither grows nor shrinks what the streams hold together.

        read_s  = norm_s(sum_j r_j h_j)
        h_i    <- sum_j m_ij h_j + w_i scale * written_s
        r       = sigmoid(g_r R v + b_r)
        w       = 2 sigmoid(g_w W v + b_w)
        m       = sinkhorn(exp(g_m M v + b_m))
        closed  = norm(mean_j h_j)

    where h_1, …, h_n are the streams, all of them the embedding at first, v = rms(h_1, …, h_n) all of them as one
    vector, and the scale is (2 layers)^-1/2. sinkhorn divides columns and rows by their sums in turn, so that both add
    up to 1 in the end. R, W and M start at 0, the weights of a read add up to 1, those of a write are 1: the streams
    are equal at first, and the model starts as with `pre-norm`.

    Options:
        streams: n, how many there are.
        iterations: of sinkhorn.

    Source: Xie et al. 2025, arXiv:2512.24880.
    """

    starts_as_pre_norm: ClassVar[bool] = True
    no_decay: ClassVar[frozenset[str]] = frozenset({"read_bias", "write_bias", "mix_bias", "gains"})
    paper: ClassVar[str] = "Xie et al. 2025, arXiv:2512.24880"

    def __init__(self, dim: int, *, sites: int, layers: int, streams: int = 4, iterations: int = 20) -> None:
        if streams < 2:
            raise ValueError(f"streams={streams} should be 2 or more")
        if iterations < 1:
            raise ValueError(f"iterations={iterations} should be 1 or more")
        super().__init__(dim, sites=sites, layers=layers, streams=streams)
        self.iterations = iterations
        self.read_bias = nn.Parameter(torch.empty(sites, streams))
        self.write_bias = nn.Parameter(torch.empty(sites, streams))
        self.mix_bias = nn.Parameter(torch.empty(sites, streams, streams))
        outputs = streams * (streams + 2)
        self.maps = nn.ParameterList(nn.Parameter(torch.empty(outputs, streams * dim)) for _ in range(sites))
        """Rows of R, W and M, a map a site."""
        self.gains = nn.Parameter(torch.empty(sites, 3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as `pre-norm`."""
        others = (1 - FAVOURED) / (self.streams - 1)
        with torch.no_grad():
            self.read_bias.fill_(_logit(others))
            for site in range(self.sites):
                self.read_bias[site, site % self.streams] = _logit(FAVOURED)
            self.write_bias.zero_()
            # a stream keeps most of itself
            self.mix_bias.zero_().diagonal(dim1=1, dim2=2).fill_(math.log(9 * max(1, self.streams - 1)))
            for maps in self.maps:
                maps.zero_()
            self.gains.fill_(0.01)

    def connect(self, stream: Tensor, site: int) -> Connections:
        """The connections of a site, ``(b, t, …)``."""
        wide = torch.promote_types(stream.dtype, torch.float32)
        moved = project(unit_rms(stream.to(wide).flatten(-2)), self.maps[site].to(wide))
        read, write, mix = moved.split([self.streams, self.streams, self.streams**2], dim=-1)
        read_gain, write_gain, mix_gain = self.gains[site].to(wide).unbind()
        logits = mix_gain * mix.unflatten(-1, (self.streams, self.streams)) + self.mix_bias[site]
        return Connections(
            (read_gain * read + self.read_bias[site]).sigmoid(),
            2 * (write_gain * write + self.write_bias[site]).sigmoid(),
            sinkhorn(logits, self.iterations),
        )


def sinkhorn(logits: Tensor, iterations: int) -> Tensor:
    """The doubly stochastic matrix ``D exp(logits) E``, with diagonal D and E: ``(…, n, n)`` to the same.

    Rows add up to 1 exactly, columns as nearly as the iterations bring it. Source: Sinkhorn & Knopp 1967.
    """
    logs = logits
    for _ in range(iterations):
        logs = logs - logs.logsumexp(-2, keepdim=True)
        logs = logs - logs.logsumexp(-1, keepdim=True)
    return logs.exp()


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
