"""Pooling: the mean of the last tokens, the mixer of PoolFormer along time."""

from typing import ClassVar

import torch
from torch import Tensor

from mixers.ops.documents import positions
from mixers.ops.features import normalized
from mixers.ops.shortconv import shortconv
from zoo import State, TokenMixer


class Pooling(TokenMixer):
    """Each token writes how the mean of the last reads differs from its own; there is nothing to learn.

        write_t = 1 / min(window, t + 1) * sum_{l < min(window, t + 1)} x_{t-l}  -  x_t

    t: the token, from 0. Its own read is subtracted because the stream holds it already.

    Options:
        window: how many reads are averaged, the token's own included; None for all so far.

    Cost: time ``t * window * d`` without multiplications by weights, or ``t * d`` for the mean of all. State: the last
    window - 1 reads, ``(window - 1) * d`` numbers and their count, or the sum of all, ``d + 1`` numbers.

    Raises:
        ValueError: a window below 2, which leaves nothing.

    Source: Yu et al. 2022, "MetaFormer is actually what you need for vision", arXiv:2111.11418; there the window lies
    around a pixel.
    """

    paper: ClassVar[str] = "Yu et al. 2022, arXiv:2111.11418"

    def __init__(self, dim: int, *, window: int | None = 8) -> None:
        super().__init__()
        if window is not None and window < 2:
            raise ValueError(f"window must be 2 or more, not {window}: a token less itself is nothing")
        self.dim, self.window = dim, window

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Pool whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Pool the next reads; the state is the last reads and their count, or the sum of all and their count."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: State | None, documents: Tensor | None) -> tuple[Tensor, State]:
        pool = self._mean_of_all if self.window is None else self._mean_of_last
        mean, state = pool(x, state, documents)
        return mean - x, state

    def _mean_of_all(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        # Linear attention with queries and keys of 1 is a running mean.
        one = torch.ones_like(x[..., None, :1])
        mean, state = normalized(one, one, x[:, :, None], state, epsilon=0, documents=documents)
        return mean[:, :, 0], state

    def _mean_of_last(
        self, x: Tensor, state: dict[str, Tensor] | None, documents: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert self.window is not None
        past = {} if state is None else state
        total, reads = shortconv(x, x.new_ones(self.dim, self.window), None, past.get("reads"), documents=documents)
        place = torch.arange(x.shape[1], device=x.device) if documents is None else positions(documents)
        count = place + 1 + past.get("count", x.new_zeros(x.shape[:1], dtype=torch.int64))[:, None]
        count = count.clamp_max(self.window)
        return total / count[..., None].to(total.dtype), {"reads": reads, "count": count[:, -1].clone()}
