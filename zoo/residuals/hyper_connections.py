"""Several streams, with learned reads, writes and mixing."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from zoo import Residual
from zoo.residuals.norms import depth_scale, make_norm, make_norms


class Connections(NamedTuple):
    """How a site is connected to the streams.

    Attributes:
        read: weights of the streams in what is read, ``(…, n)``.
        write: weights of the write in each stream, ``(…, n)``.
        mix: weights of stream j in the later stream i, ``(…, n, n)``, the later one first.
    """

    read: Tensor
    write: Tensor
    mix: Tensor


class Streams(Residual):
    """Streams side by side, ``(b, t, n, d)``, all the embedding at first, and the mean of which is closed.

        read_s  = norm_s(sum_j r_j h_j)
        h_i    <- sum_j m_ij h_j + w_i scale * written_s
        closed  = norm(mean_j h_j)

    A subclass says how a site is connected: r, w and m.

    Args:
        streams: how many, n.
    """

    def __init__(self, dim: int, *, sites: int, layers: int, streams: int) -> None:
        super().__init__(dim, sites=sites)
        self.scale, self.streams = depth_scale(layers), streams
        self.norms = make_norms("rms", dim, sites)
        self.norm = make_norm("rms", dim)

    def connect(self, stream: Tensor, site: int) -> Connections:
        """The connections of a site, the same for all tokens or ``(b, t, …)``."""
        raise NotImplementedError

    def open(self, embedded: Tensor) -> Tensor:
        """(b, t, d) to (b, t, n, d)."""
        return embedded[..., None, :].expand(*embedded.shape[:-1], self.streams, embedded.shape[-1])

    def read(self, stream: Tensor, site: int) -> Tensor:
        """(b, t, n, d) to (b, t, d)."""
        return self.norms[site](weighted_sum(self.connect(stream, site).read, stream))

    def write(self, stream: Tensor, site: int, written: Tensor) -> Tensor:
        """(b, t, n, d) to (b, t, n, d)."""
        connections = self.connect(stream, site)
        mixed = torch.stack([weighted_sum(row, stream) for row in connections.mix.unbind(-2)], dim=-2)
        gains = (self.scale * connections.write).to(stream.dtype)
        return mixed + gains[..., None] * written[..., None, :]

    def close(self, stream: Tensor) -> Tensor:
        """(b, t, n, d) to (b, t, d)."""
        return self.norm(self.show(stream))

    def show(self, stream: Tensor) -> Tensor:
        """The mean of the streams."""
        return stream.mean(-2)


class HyperConnections(Streams):
    """Several streams, whose reads, writes and mixing are learned, and depend on the streams themselves.

        read_s  = norm_s(sum_j r_j h_j)
        h_i    <- sum_j m_ij h_j + w_i scale * written_s
        r_j     = r0_j  + g_r tanh(<R, rms(h_j)>),  likewise w_j
        m_ij    = m0_ij + g_m tanh(<M_i, rms(h_j)>)
        closed  = norm(mean_j h_j)

    where h_1, …, h_n are the streams, all of them the embedding at first, and the scale is (2 layers)^-1/2. A site
    starts with reading stream s mod n, writing to all, and mixing none, and R, W and M start at 0: the streams are
    equal at first, and the model starts exactly as with `pre-norm`.

    Options:
        streams: n, how many there are.
        dynamic: whether the connections depend on the streams; false leaves r0, w0 and m0 alone.

    Memory and time of the stream are n-fold. The paper closes with the sum of the streams; their mean is the same
    behind a norm, and its size is that of one stream.

    Source: Zhu et al. 2024, arXiv:2409.19606.
    """

    starts_as_pre_norm: ClassVar[bool] = True
    no_decay: ClassVar[frozenset[str]] = frozenset({"static_read", "static_write", "static_mix", "gains"})
    paper: ClassVar[str] = "Zhu et al. 2024, arXiv:2409.19606"

    def __init__(self, dim: int, *, sites: int, layers: int, streams: int = 4, dynamic: bool = True) -> None:
        if streams < 1:
            raise ValueError(f"streams={streams} should be 1 or more")
        super().__init__(dim, sites=sites, layers=layers, streams=streams)
        self.dynamic = dynamic
        self.static_read = nn.Parameter(torch.empty(sites, streams))
        self.static_write = nn.Parameter(torch.empty(sites, streams))
        self.static_mix = nn.Parameter(torch.empty(sites, streams, streams))
        if dynamic:
            self.maps = nn.ParameterList(nn.Parameter(torch.empty(streams + 2, dim)) for _ in range(sites))
            """Rows of R, W and M, a map a site."""
            self.gains = nn.Parameter(torch.empty(sites, 3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as `pre-norm`."""
        with torch.no_grad():
            self.static_read.zero_()
            for site in range(self.sites):
                self.static_read[site, site % self.streams] = 1
            self.static_write.fill_(1)
            self.static_mix.zero_().diagonal(dim1=1, dim2=2).fill_(1)
            if self.dynamic:
                for maps in self.maps:
                    maps.zero_()
                self.gains.fill_(0.01)

    def connect(self, stream: Tensor, site: int) -> Connections:
        """The connections of a site, ``(b, t, …)`` where they are dynamic."""
        static = Connections(self.static_read[site], self.static_write[site], self.static_mix[site])
        if not self.dynamic:
            return static
        wide = torch.promote_types(stream.dtype, torch.float32)
        moved = project(unit_rms(stream.to(wide)), self.maps[site].to(wide)).tanh()  # (b, t, n, n + 2)
        read_gain, write_gain, mix_gain = self.gains[site].to(wide).unbind()
        return Connections(
            static.read + read_gain * moved[..., 0],
            static.write + write_gain * moved[..., 1],
            static.mix + mix_gain * moved[..., 2:].mT,
        )


def weighted_sum(weights: Tensor, stream: Tensor) -> Tensor:
    """Sum of streams ``(b, t, n, d)`` by weights ``(…, n)``: ``(b, t, d)``.

    Not a matrix product: autocast would run that in half precision, and the stream is kept as it is.
    """
    total: Tensor | None = None
    for weight, one in zip(weights.to(stream.dtype).unbind(-1), stream.unbind(-2), strict=True):
        term = weight[..., None] * one
        total = term if total is None else total + term
    assert total is not None
    return total


def project(x: Tensor, rows: Tensor) -> Tensor:
    """Inner products of ``(…, c)`` with rows ``(m, c)``, in the precision of x: ``(…, m)``."""
    with torch.autocast(x.device.type, enabled=False):
        return x @ rows.T


def unit_rms(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Scaled to a mean square of one over the last axis, without gains."""
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()
