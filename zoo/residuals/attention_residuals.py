"""Attention over depth."""

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from zoo import Residual
from zoo.residuals.norms import make_norm, make_norms

Outputs: TypeAlias = tuple[Tensor, ...]


class AttentionResiduals(Residual):
    """Reads what a softmax over depth selects of the embedding and of the outputs of earlier sites.

        p_l    = softmax_l <q_s, rms(v_l) * g_s>
        read_s = norm_s(sum_l p_l v_l)
        closed = norm(sum_l p_l v_l), with a query of its own

    where v_0 is the embedded tokens and v_1, v_2, … are the outputs so far: one of each site, or, with blocks, the sum
    of those of each block of sites; of the block that is not complete yet, the sum so far. The queries q are learned
    and start at 0: the first reads are plain means, which behind a norm are the sums of `pre-norm(scale=none)`.

    Options:
        block: sites in a block; 1 attends to every site.

    Time grows with the square of the number of blocks, and the stream holds one tensor for each of them.

    Source: Kimi Team 2026, arXiv:2603.15031.
    """

    paper: ClassVar[str] = "Kimi Team 2026, arXiv:2603.15031"

    def __init__(self, dim: int, *, sites: int, block: int = 1) -> None:
        if block < 1:
            raise ValueError(f"block={block} should be 1 or more")
        super().__init__(dim, sites=sites)
        self.block = block
        self.norms = make_norms("rms", dim, sites)
        # none for the first site, which has the embedding alone to select from; one for the end
        self.queries = nn.ParameterList(nn.Parameter(torch.empty(dim)) for _ in range(sites))
        self.gains = nn.ParameterList(nn.Parameter(torch.empty(dim)) for _ in range(sites))
        self.norm = make_norm("rms", dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with plain means."""
        for query, gain in zip(self.queries, self.gains, strict=True):
            nn.init.zeros_(query)
            nn.init.ones_(gain)

    def open(self, embedded: Tensor) -> Outputs:
        """(b, t, d) to the outputs so far, (b, t, d) each."""
        return (embedded,)

    def read(self, stream: Outputs, site: int) -> Tensor:
        """The outputs so far to (b, t, d)."""
        return self.norms[site](self._attend(stream, site))

    def write(self, stream: Outputs, site: int, written: Tensor) -> Outputs:
        """The outputs so far to the later ones: a block starts, or its sum grows."""
        written = written.to(stream[0].dtype)  # autocast writes in half precision
        if site % self.block == 0:
            return *stream, written
        return *stream[:-1], stream[-1] + written

    def close(self, stream: Outputs) -> Tensor:
        """All outputs to (b, t, d)."""
        return self.norm(self._attend(stream, self.sites))

    def show(self, stream: Outputs) -> Tensor:
        """The sum of all outputs, which is the residual stream that they replace."""
        return sum(stream[1:], stream[0])

    def added(self, stream: Outputs, site: int, written: Tensor) -> Tensor:  # noqa: ARG002 - whatever the stream is
        """The write, exactly."""
        return written

    def _attend(self, stream: Outputs, site: int) -> Tensor:
        if site == 0:
            return stream[0]
        return attend_over_depth(self.queries[site - 1], stream, self.gains[site - 1])[0]


def attend_over_depth(
    query: Tensor, outputs: Sequence[Tensor], gain: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """Attention of one query to the outputs of each depth: ``p_l = softmax_l <q, rms(v_l) * g>``, ``sum_l p_l v_l``.

    Args:
        query: ``(d)``.
        outputs: v, l of them, ``(b, t, d)`` each.
        gain: of the norm on the keys, ``(d)``; the values are not normalised.
        eps: of that norm.

    Returns:
        What was selected, ``(b, t, d)``, and the attention weights, ``(l, b, t)``.
    """
    wide = torch.promote_types(outputs[0].dtype, torch.float32)
    direction = query.to(wide) * gain.to(wide)
    with torch.autocast(query.device.type, enabled=False):
        # the norm is a number a token, so that the keys need not be written out
        scores = [
            (output.to(wide) @ direction) * (output.to(wide).square().mean(-1) + eps).rsqrt() for output in outputs
        ]
    weights = torch.stack(scores).softmax(0)
    selected = torch.zeros_like(outputs[0])
    for weight, output in zip(weights.to(outputs[0].dtype).unbind(), outputs, strict=True):
        selected = selected + weight[..., None] * output
    return selected, weights
