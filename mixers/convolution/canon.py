"""A canon layer: the last tokens, weighed channel by channel, beside the token itself."""

from typing import ClassVar

from torch import Tensor

from mixers.layers.short_conv import ShortConv
from zoo import Panel, TokenMixer

SHOWN_CHANNELS = 64
"""The kernels of so many channels are shown."""


class Canon(TokenMixer):
    """A depthwise convolution over a few tokens, and nothing else: no projection, no gate, no activation.

        write_t = sum_{l < K} kappa_l * x_{t-l}

    kappa: the kernel, K taps a channel. The stream is the residual connection that the paper adds to it, so that a
    layer of it in front of another one is canon A or C: ``canon/none, dot-product/none, canon/mlp``. It may stand in
    the place of a channel mixer too: ``dot-product/canon``.

    Options:
        kernel_size: taps K, up to 8; a write sees the last K reads.

    Cost: time ``t * d * K``, and ``d * K`` parameters. State: the last K - 1 reads, ``(K - 1) * d`` numbers.

    Raises:
        ValueError: a kernel_size that is out of its range.

    Source: Allen-Zhu 2025, "Physics of Language Models: Part 4.1", arXiv:2512.17351.
    """

    paper: ClassVar[str] = "Allen-Zhu 2025, arXiv:2512.17351"

    def __init__(self, dim: int, *, kernel_size: int = 4) -> None:
        super().__init__()
        self.convolution = ShortConv(dim, kernel_size, bias=False)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self.convolution(x, documents=documents)[0]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the next reads; the state is the last K - 1 reads, ``(b, K - 1, d)``."""
        written, state = self.convolution(x, state)
        return written, state

    def panels(self, x: Tensor) -> list[Panel]:  # noqa: ARG002 - the kernels are the same for all reads
        """The kernels of the first channels."""
        kernels = self.convolution.weight[:SHOWN_CHANNELS]
        title = f"kernels of the first {len(kernels)} channels"
        reading = "A row is the kernel of a channel, from the token's own tap to that of the oldest it sees."
        axes = ("channel", "age of what the tap reads (tokens)")
        return [Panel(title, reading, kernels, quantity="weight of the tap", axes=axes)]
