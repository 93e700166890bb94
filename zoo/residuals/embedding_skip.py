"""The embedding, re-injected at every site."""

from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from zoo import Residual
from zoo.residuals.norms import depth_scale, make_norm, make_norms

Pair: TypeAlias = tuple[Tensor, Tensor]


class EmbeddingSkip(Residual):
    """Mixes a learned share of the embedding into the stream before every read.

        y_s     = keep_s x + skip_s e
        read_s  = norm_s(y_s)
        x      <- y_s + scale * written_s
        closed  = norm(x)

    where x is the stream, e the embedded tokens, and the scale (2 layers)^-1/2. keep_s and skip_s are numbers; they
    start at 1 and 0, so that the model starts as with `pre-norm`.

    Source: modded-nanoGPT and nanochat (Jordan et al. 2024, Karpathy 2025).
    """

    starts_as_pre_norm: ClassVar[bool] = True
    paper: ClassVar[str] = "Jordan et al. 2024, https://github.com/KellerJordan/modded-nanogpt"

    def __init__(self, dim: int, *, sites: int, layers: int) -> None:
        super().__init__(dim, sites=sites)
        self.scale = depth_scale(layers)
        self.norms = make_norms("rms", dim, sites)
        self.keep = nn.Parameter(torch.empty(sites))
        self.skip = nn.Parameter(torch.empty(sites))
        self.norm = make_norm("rms", dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Keep all of the stream, and inject nothing."""
        nn.init.ones_(self.keep)
        nn.init.zeros_(self.skip)

    def open(self, embedded: Tensor) -> Pair:
        """(b, t, d) to a pair of it: the stream, and the embedding."""
        return embedded, embedded

    def read(self, stream: Pair, site: int) -> Tensor:
        """A pair of (b, t, d) to (b, t, d)."""
        return self.norms[site](self._mixed(stream, site))

    def write(self, stream: Pair, site: int, written: Tensor) -> Pair:
        """A pair of (b, t, d) to another."""
        return torch.add(self._mixed(stream, site), written, alpha=self.scale), stream[1]

    def close(self, stream: Pair) -> Tensor:
        """A pair of (b, t, d) to (b, t, d)."""
        return self.norm(stream[0])

    def show(self, stream: Pair) -> Tensor:
        """The stream without the embedding beside it."""
        return stream[0]

    def added(self, stream: Pair, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - whatever the stream is
        """The write with its scale, without what is injected beside it."""
        return written * self.scale

    def _mixed(self, stream: Pair, site: int) -> Tensor:
        return self.keep[site] * stream[0] + self.skip[site] * stream[1]
