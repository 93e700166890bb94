"""Norm after the addition."""

from typing import ClassVar, Literal

from torch import Tensor

from zoo import Residual
from zoo.residuals.norms import make_norm, make_norms


class PostNorm(Residual):
    """Normalises the stream after every addition; parts read it as it is.

        x      <- norm_0(embedded)
        read_s  = x
        x      <- norm_s(x + written_s)
        closed  = x

    where x is the stream. As in BERT the embedding is normalised too, so that the first part reads what the others do.

    Options:
        norm: rms or layer (LayerNorm with biases).

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """

    paper: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762"

    def __init__(self, dim: int, *, sites: int, norm: Literal["rms", "layer"] = "rms") -> None:
        super().__init__(dim, sites=sites)
        self.embedding_norm = make_norm(norm, dim)
        self.norms = make_norms(norm, dim, sites)

    def open(self, embedded: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.embedding_norm(embedded)

    def read(self, stream: Tensor, site: int) -> Tensor:  # noqa: ARG002 - every site reads the same
        """(b, t, d), as it is."""
        return stream

    def write(self, stream: Tensor, site: int, written: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        return self.norms[site](stream + written)

    def close(self, stream: Tensor) -> Tensor:
        """(b, t, d), normalised by the last write."""
        return stream
