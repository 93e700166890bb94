"""Hyena: a gated convolution as long as the context, whose kernel is a network of the lag."""

from itertools import pairwise
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from mixers.layers.float32 import KeepsFloat32
from mixers.layers.short_conv import ShortConv
from mixers.ops.activations import at_least_float32
from mixers.ops.documents import by_document
from mixers.ops.lags import tail
from mixers.ops.longconv import longconv
from zoo import Panel, State, TokenMixer

FASTEST, SLOWEST = 0.3, 1.5
"""A channel's kernel has fallen to 1 % after so many contexts: channels lie between these, evenly in their rates."""

SHOWN_CHANNELS, SHOWN_LAGS = 64, 256
"""The kernels of so many channels, and so many of their lags, are shown."""


class Hyena(KeepsFloat32, TokenMixer):
    """A long convolution between two gates, with a kernel that a small network writes as a function of the lag.

        u, g, v = conv(W_in x)                  y_t = D * g_t * v_t + sum_{l <= t} kappa_l * g_{t-l} * v_{t-l}
        write_t = W_out (u_t * y_t)             kappa_l = MLP(p_l) * exp(-rate * l / (T - 1))

    T: the context, by which lags are measured; p_l: the lag, and sines and cosines of it, which are learned from
    there; MLP: sines of learned frequencies between its layers; rate: a constant a channel; conv: short and depthwise;
    products are elementwise; projections have biases. This is the operator of order 2.

    Options:
        context: T, the longest sequence that it takes.
        kernel_size: taps of the short convolution, up to 8.
        features: numbers that the network sees of a lag, an odd number from 3 on.
        filter_width: channels of the network.
        sine_frequency: of its sines at the start.

    Cost: time ``t * d * (4 d + log t)`` and a pass of the network over t lags. State: what has entered the long
    convolution, ``t * d`` numbers, and a few inputs of the short one; a step costs ``t * d``.

    Raises:
        ValueError: an option that is out of its range, or a sequence longer than the context.

    Source: Poli et al. 2023, "Hyena Hierarchy", arXiv:2302.10866.
    """

    paper: ClassVar[str] = "Poli et al. 2023, arXiv:2302.10866"
    no_decay: ClassVar[frozenset[str]] = frozenset({"lag_features"})
    # Sines of large arguments turn the rounding of these into another kernel.
    in_float32: ClassVar[frozenset[str]] = frozenset({"lag_features", "hidden", "frequency"})

    def __init__(
        self,
        dim: int,
        *,
        context: int = 1024,
        kernel_size: int = 3,
        features: int = 5,
        filter_width: int = 64,
        sine_frequency: float = 10.0,
    ) -> None:
        super().__init__()
        _check_ranges(context, features, filter_width, sine_frequency)
        self.max_length, self.start_frequency = context, sine_frequency
        self.project_in = nn.Linear(dim, 3 * dim)
        self.convolution = ShortConv(3 * dim, kernel_size)
        self.lag_features = nn.Parameter(torch.empty(context, features))
        self.frequency = nn.Parameter(torch.empty(filter_width))
        widths = [features, filter_width, filter_width, filter_width]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.to_kernel = nn.Linear(filter_width, dim, bias=False)
        self.skip = nn.Parameter(torch.empty(dim))
        self.project_out = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with the lag as a part of the context, and the first terms of a Fourier series of it."""
        context, features = self.lag_features.shape
        nn.init.constant_(self.frequency, self.start_frequency)
        nn.init.normal_(self.skip)
        device = self.lag_features.device
        lag, bands = torch.arange(context, device=device), (features - 1) // 2
        angle = 2 * pi / context * lag[:, None] * torch.linspace(1e-4, max(bands - 1, 1e-4), bands, device=device)
        with torch.no_grad():
            self.lag_features[:, 0] = lag / max(1, context - 1)
            self.lag_features[:, 1 : 1 + bands] = angle.cos()
            self.lag_features[:, 1 + bands :] = -angle.sin()

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself.

        Raises:
            ValueError: sequences longer than the context.
        """
        kernel = self._kernel(x.shape[1])
        projected = self.project_in(x)

        def mix(read: Tensor) -> Tensor:
            after, value, _ = self._gated(read, None)
            return after * longconv(value, kernel, self.skip)

        return self.project_out(mix(projected) if documents is None else by_document(mix, documents, projected))

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds all that has entered the long convolution, ``(b, t, d)``.

        Raises:
            ValueError: sequences that get longer than the context.
        """
        past = {} if state is None else state
        after, value, convolution = self._gated(self.project_in(x), past.get("convolution"))
        values = torch.cat([past["value"], value], dim=1) if past else value
        kernel = self._kernel(values.shape[1])
        if x.shape[1] == 1:
            mixed = torch.einsum("btd,dt->bd", at_least_float32(values), kernel.flip(1))[:, None].to(value.dtype)
            mixed = mixed + self.skip.to(value.dtype) * value
        else:
            mixed = longconv(values, kernel, self.skip)[:, -x.shape[1] :]
        return self.project_out(after * mixed), {"value": tail(values, values.shape[1]), "convolution": convolution}

    def _gated(self, projected: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The gate of what is written, what enters the long convolution, and the short one's state."""
        convolved, convolution = self.convolution(projected, past)
        after, before, value = convolved.chunk(3, dim=-1)
        return after, before * value, convolution

    def _kernel(self, length: int) -> Tensor:
        """The weight of each lag below `length`, ``(d, length)``."""
        context = len(self.lag_features)
        if length > context:
            raise ValueError(f"{length} tokens are more than its context={context}: build it with a longer one")
        # In bfloat16, the sines of large arguments would be noise.
        with torch.autocast(self.skip.device.type, enabled=False):
            hidden = at_least_float32(self.lag_features[:length])
            for layer in self.hidden:
                assert isinstance(layer, nn.Linear)
                raw = linear(hidden, at_least_float32(layer.weight), at_least_float32(layer.bias))
                hidden = (at_least_float32(self.frequency) * raw).sin()
            kernel = (hidden @ at_least_float32(self.to_kernel.weight).t()).t()
        rate = torch.linspace(log(0.01) / SLOWEST, log(0.01) / FASTEST, len(kernel), device=kernel.device)
        lag = torch.arange(length, device=kernel.device) / max(1, context - 1)
        return kernel * (rate.to(kernel.dtype)[:, None] * lag.to(kernel.dtype)).exp()

    def panels(self, x: Tensor) -> list[Panel]:
        """The kernels of the first channels."""
        kernels = self._kernel(min(x.shape[1], SHOWN_LAGS))[:SHOWN_CHANNELS]
        title = f"kernels of the first {len(kernels)} channels"
        reading = "A row is a channel: the weight of what entered the long convolution so many tokens ago."
        return [Panel(title, reading, kernels, quantity="weight of the lag", axes=("channel", "lag (tokens)"))]


def _check_ranges(context: int, features: int, filter_width: int, sine_frequency: float) -> None:
    for name, value in {"context": context, "filter_width": filter_width}.items():
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
    if features < 3 or features % 2 == 0:
        raise ValueError(f"features must be an odd number from 3 on, the lag with sines and cosines: not {features}")
    if not 0 < sine_frequency <= 1000:
        raise ValueError(f"sine_frequency must be above 0 and up to 1000, not {sine_frequency}")
