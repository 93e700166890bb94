"""Norms on the read and on the write."""

from typing import ClassVar

from torch import Tensor, nn

from zoo import Residual
from zoo.residuals.norms import make_norm, make_norms


class Sandwich(Residual):
    """Normalises what is read and what is written, before it is added.

        read_s  = norm_s(x)
        x      <- x + write_norm_s(written_s)
        closed  = norm(x)

    where x is the stream.

    Options:
        norm_reads: whether the read is normalised; false leaves it as it is, as in OLMo 2.

    Source: Gemma Team 2024, arXiv:2408.00118; without the norm on the read, OLMo Team 2025, arXiv:2501.00656.
    """

    paper: ClassVar[str] = "Gemma Team 2024, arXiv:2408.00118"

    def __init__(self, dim: int, *, sites: int, norm_reads: bool = True) -> None:
        super().__init__(dim, sites=sites)
        self.norms = make_norms("rms" if norm_reads else "none", dim, sites)
        self.write_norms = make_norms("rms", dim, sites)
        self.norm: nn.Module = make_norm("rms", dim)

    def read(self, stream: Tensor, site: int) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norms[site](stream)

    def write(self, stream: Tensor, site: int, written: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return stream + self.write_norms[site](written.to(stream.dtype))

    def close(self, stream: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norm(stream)

    def added(self, stream: Tensor, site: int, written: Tensor) -> Tensor:
        """The normalised write, exactly."""
        return self.write_norms[site](written.to(stream.dtype))
