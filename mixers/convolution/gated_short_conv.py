"""The gated short convolution of LFM2, the cheapest mixer that there is."""

from typing import ClassVar

from torch import Tensor, nn

from mixers.layers.short_conv import ShortConv
from zoo import Panel, TokenMixer

SHOWN_CHANNELS = 64
"""The kernels of so many channels are shown."""


class GatedShortConv(TokenMixer):
    """A depthwise convolution over a few tokens, between two multiplicative gates that are linear in the read.

        B_t, C_t, u_t = W_in x_t        write_t = W_out [ C_t * sum_{l < K} kappa_l (B * u)_{t-l} ]

    kappa: the kernel, K taps a channel; products between vectors are elementwise. There is no activation: the gates
    alone are what is not linear.

    Options:
        kernel_size: taps K, up to 8; a write sees the last K reads.
        bias: add learned constants to projections and convolution.

    Cost: time ``t * d * (4 d + K)``, linear in t. State: the last K - 1 gated inputs, ``(K - 1) * d`` numbers. It sees
    K tokens and no others: what lies further back is for other layers of a hybrid.

    Raises:
        ValueError: a kernel_size that is out of its range.

    Source: Liquid AI 2025, the "LFM2 Technical Report", arXiv:2511.23404.
    """

    paper: ClassVar[str] = "Liquid AI 2025, arXiv:2511.23404"

    def __init__(self, dim: int, *, kernel_size: int = 3, bias: bool = False) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, 3 * dim, bias=bias)
        self.convolution = ShortConv(dim, kernel_size, bias=bias)
        self.project_out = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the next reads; the state is the last K - 1 gated inputs, ``(b, K - 1, d)``."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        before, after, value = self.project_in(x).chunk(3, dim=-1)
        convolved, state = self.convolution(before * value, state, documents=documents)
        return self.project_out(after * convolved), state

    def panels(self, x: Tensor) -> list[Panel]:  # noqa: ARG002 - the kernels are the same for all reads
        """The kernels of the first channels."""
        kernels = self.convolution.weight[:SHOWN_CHANNELS]
        title = f"kernels of the first {len(kernels)} channels"
        reading = "A row is the kernel of a channel, from the token's own tap to that of the oldest it sees."
        axes = ("channel", "age of what the tap reads (tokens)")
        return [Panel(title, reading, kernels, quantity="weight of the tap", axes=axes)]
