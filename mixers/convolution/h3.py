"""H3: two state spaces and two multiplications, which recall what followed a token."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.diagonal_state_space import DiagonalStateSpace
from mixers.ops.documents import by_document
from mixers.ops.lags import tail
from mixers.ops.longconv import longconv
from zoo import Panel, State, TokenMixer

SHOWN_CHANNELS, SHOWN_LAGS = 64, 128
"""The kernels of so many channels, and so many of their lags, are shown."""


class H3(TokenMixer):
    """A shifting state space finds what a token follows, a decaying one keeps it until a query asks.

        write_t = W_out [ q_t * S4D( shift(k) * v )_t ]        q, k, v = W_in x + bias

    shift: a causal convolution over the last n keys, a learned kernel a channel, e.g. the key of the token before;
    S4D: a diagonal state space a channel. Both have a skip connection; products between vectors are elementwise, which
    is H3 with heads of one channel.

    Options:
        state_size: n numbers of state a channel, in each of the two; an even number.

    Cost: time ``t * d * (4 d + n + 2 log t)``. State: ``2 * d * n`` numbers.

    Raises:
        ValueError: a state_size that is odd or below 2.

    Source: Fu et al. 2022, "Hungry Hungry Hippos", arXiv:2212.14052.
    """

    paper: ClassVar[str] = "Fu et al. 2022, arXiv:2212.14052"
    no_decay: ClassVar[frozenset[str]] = frozenset({"shift"})

    def __init__(self, dim: int, *, state_size: int = 64) -> None:
        super().__init__()
        self.state_space = DiagonalStateSpace(dim, state_size)
        self.project_in = nn.Linear(dim, 3 * dim)
        self.shift = nn.Parameter(torch.empty(dim, state_size))
        self.shift_skip = nn.Parameter(torch.empty(dim))
        self.project_out = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernels of the shift, so that what it makes of keys is as large as they are."""
        nn.init.normal_(self.shift, std=self.shift.shape[1] ** -0.5)
        nn.init.normal_(self.shift_skip)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        projected = self.project_in(x)
        mixed = self._mix(projected) if documents is None else by_document(self._mix, documents, projected)
        return self.project_out(mixed)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the last n - 1 keys, and real and imaginary parts of the states."""
        query, key, value = self.project_in(x).chunk(3, dim=-1)
        past = {} if state is None else state
        keys = torch.cat([past.get("key", key.new_zeros(len(x), self.shift.shape[1] - 1, key.shape[2])), key], dim=1)
        shifted = longconv(keys, self.shift, self.shift_skip)[:, -x.shape[1] :]
        read, states = self.state_space.step(shifted * value, past.get("states"))
        return self.project_out(query * read), {"key": tail(keys, self.shift.shape[1] - 1), "states": states}

    def _mix(self, projected: Tensor) -> Tensor:
        query, key, value = projected.chunk(3, dim=-1)
        return query * self.state_space(longconv(key, self.shift, self.shift_skip) * value)

    def panels(self, x: Tensor) -> list[Panel]:
        """The kernels of the first channels, of the shift and of the state space."""
        kept = self.state_space.kernel(min(x.shape[1], SHOWN_LAGS))[:SHOWN_CHANNELS]
        reading = "A row is a channel: the weight of what it took in so many tokens ago."
        return [
            Panel(f"kernels of the {name}", reading, kernels, "weight of the lag", ("channel", "lag (tokens)"))
            for name, kernels in (("shift", self.shift[:SHOWN_CHANNELS]), ("state space", kept))
        ]
