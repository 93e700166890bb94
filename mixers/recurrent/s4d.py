"""S4D, a diagonal state space: a recurrence that is trained as a long convolution."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import gelu, glu

from mixers.layers.diagonal_state_space import DiagonalStateSpace
from mixers.ops.documents import by_document
from zoo import Panel, TokenMixer

SHOWN_CHANNELS, SHOWN_LAGS = 64, 128
"""The kernels of so many channels, and so many of their lags, are shown."""


class S4D(TokenMixer):
    """A linear state space for each channel by itself, the same at every token.

        h_t = e^{s A} h_{t-1} + (e^{s A} - 1) / A * x_t        y_t = 2 Re sum_n C_n h_{t,n} + D x_t
        write_t = a_t * sigmoid(b_t)                           a_t, b_t = W gelu(y_t) + bias

    A: n / 2 complex rates a channel, of which a real part below zero lets states decay and an imaginary part turns
    them; s: a step size, C, D: weights a channel. All of it is a convolution with the kernel ``2 Re sum_n C_n
    (e^{s A_n} - 1) / A_n * e^{s A_n l}`` and is computed so, but for single tokens.

    Options:
        state_size: n numbers of state a channel, an even number.

    Cost: time ``t * d * (2 d + n + log t)``. State: ``d * n`` numbers. What is kept and for how long does not depend on
    the tokens: it cannot choose what to recall.

    Raises:
        ValueError: a state_size that is odd or below 2.

    Source: Gu et al. 2022, "On the Parameterization and Initialization of Diagonal State Space Models",
    arXiv:2206.11893.
    """

    paper: ClassVar[str] = "Gu et al. 2022, arXiv:2206.11893"

    def __init__(self, dim: int, *, state_size: int = 64) -> None:
        super().__init__()
        self.state_space = DiagonalStateSpace(dim, state_size)
        self.project_out = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        y = self.state_space(x) if documents is None else by_document(self.state_space, documents, x)
        return self._written(y)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the next reads; the state is the real and imaginary parts of h, ``(b, d, n / 2, 2)``."""
        y, state = self.state_space.step(x, state)
        return self._written(y), state

    def _written(self, y: Tensor) -> Tensor:
        return glu(self.project_out(gelu(y)), dim=-1)

    def panels(self, x: Tensor) -> list[Panel]:
        """The kernels of the first channels."""
        kernels = self.state_space.kernel(min(x.shape[1], SHOWN_LAGS))[:SHOWN_CHANNELS]
        title = f"kernels of the first {len(kernels)} channels"
        reading = "A row is a channel: how much of what it read so many tokens ago is in its state's reading."
        return [Panel(title, reading, kernels, quantity="weight of the lag", axes=("channel", "lag (tokens)"))]
