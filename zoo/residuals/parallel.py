"""Token mixer and channel mixer of a layer, side by side."""

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from zoo import Residual
from zoo.residuals.norms import depth_scale, make_norm, make_norms

Pair: TypeAlias = tuple[Tensor, Tensor]


class Parallel(Residual):
    """The channel mixer of a layer reads what its token mixer read.

        read   = norm_l(x_l)                        for both
        x_l+1  = x_l + scale * (token mixer(read) + channel mixer(read))
        closed = norm(x)

    where x_l is the stream at the start of layer l, and the scale is (2 layers)^-1/2.

    The stream is carried together with what it was when the layer began; the channel mixer's read is normalised again.

    Source: Wang & Komatsuzaki 2021 (GPT-J); Chowdhery et al. 2022, arXiv:2204.02311.
    """

    paper: ClassVar[str] = "Chowdhery et al. 2022, arXiv:2204.02311"

    def __init__(self, dim: int, *, sites: int, layers: int, roles: Sequence[str]) -> None:
        super().__init__(dim, sites=sites)
        self.scale = depth_scale(layers)
        self.layer_of: list[int] = []
        """The layer of each site: a new one starts with its token mixers."""
        for role in roles:
            self.layer_of.append((self.layer_of[-1] if self.layer_of else -1) + (role == "token"))
        self.is_token = [role == "token" for role in roles]
        self.norms = make_norms("rms", dim, self.layer_of[-1] + 1)
        self.norm = make_norm("rms", dim)

    def open(self, embedded: Tensor) -> Pair:
        """(b, t, d) to a pair of it: the stream now, and when the layer began."""
        return embedded, embedded

    def read(self, stream: Pair, site: int) -> Tensor:
        """A pair of (b, t, d) to (b, t, d)."""
        return self.norms[self.layer_of[site]](stream[not self.is_token[site]])

    def write(self, stream: Pair, site: int, written: Tensor) -> Pair:
        """A pair of (b, t, d) to another."""
        now, began = stream
        later = torch.add(now, written, alpha=self.scale)
        return later, now if self.is_token[site] else began

    def close(self, stream: Pair) -> Tensor:
        """A pair of (b, t, d) to (b, t, d)."""
        return self.norm(stream[0])

    def show(self, stream: Pair) -> Tensor:
        """The stream now."""
        return stream[0]

    def added(self, stream: Pair, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - whatever the stream is
        """The write with its scale, exactly."""
        return written * self.scale
