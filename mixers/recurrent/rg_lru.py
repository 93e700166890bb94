"""The recurrent block of Griffin: a short convolution and a gated linear recurrence."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from mixers.layers.short_conv import ShortConv
from mixers.layers.state_panel import decay_panel
from mixers.ops.activations import at_least_float32
from mixers.ops.documents import starts
from mixers.ops.scan import scan
from mixers.ops.square_root import bounded_sqrt
from zoo import Panel, State, TokenMixer

SHARPNESS = 8.0
"""How much faster than its slowest a channel can forget, c of the paper."""

SLOWEST, FASTEST = 0.999, 0.9
"""Between these lie the decays at the start, where the recurrence gate is 1 / `SHARPNESS`."""


class RGLRU(TokenMixer):
    """A gated linear recurrence that writes the more into its state, the more it forgets of it.

        h_t = a_t * h_{t-1} + sqrt(1 - a_t**2) * (i_t * u_t)        u = conv(W_x x)
        log a_t = -8 r_t * softplus(Lambda)                         r_t, i_t = sigmoid(R u_t), sigmoid(I u_t)
        write_t = W_out [ gelu(W_y x_t) * h_t ]

    R, I: matrices that are block-diagonal by heads, with biases, as all projections have; Lambda: a decay a channel;
    products between vectors are elementwise. The square root keeps the size of the state, whatever the decay. A
    document's first token is written whole, without it.

    Options:
        heads: blocks of the gates; they divide width.
        width: channels of the recurrence; None for dim.
        kernel_size: taps of the convolution, up to 8.

    Cost: time ``t * width * (3 d + 2 width / heads)``, linear in t. State: h, the last kernel_size - 1 inputs of the
    convolution, and whether there was a token, ``width * kernel_size + 1`` numbers.

    Raises:
        ValueError: heads that do not divide the width, a width below 1, a kernel_size that is out of its range.

    Source: De et al. 2024, "Griffin", arXiv:2402.19427; as RecurrentGemma has it, gradients of the square root
    are bounded by 1000.
    """

    paper: ClassVar[str] = "De et al. 2024, arXiv:2402.19427"
    no_decay: ClassVar[frozenset[str]] = frozenset({"recurrence_bias", "input_bias"})

    def __init__(self, dim: int, *, heads: int = 4, width: int | None = None, kernel_size: int = 4) -> None:
        super().__init__()
        width = dim if width is None else width
        if width < 1:
            raise ValueError(f"width must be 1 or more, not {width}")
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width of the recurrence: with width={width}, not {heads}")
        self.heads, self.size = heads, width // heads
        self.project_gate = nn.Linear(dim, width)
        self.project_in = nn.Linear(dim, width)
        self.convolution = ShortConv(width, kernel_size)
        self.recurrence_weight = nn.Parameter(torch.empty(heads, self.size, self.size))
        self.recurrence_bias = nn.Parameter(torch.empty(heads, self.size))
        self.input_weight = nn.Parameter(torch.empty(heads, self.size, self.size))
        self.input_bias = nn.Parameter(torch.empty(heads, self.size))
        self.rate = nn.Parameter(torch.empty(width))
        self.project_out = nn.Linear(width, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the gates, and decays from 0.9 to 0.999, as often as such points lie in a ring."""
        for weight in (self.recurrence_weight, self.input_weight):
            nn.init.normal_(weight, std=self.size**-0.5)
        for bias in (self.recurrence_bias, self.input_bias):
            nn.init.zeros_(bias)
        with torch.no_grad():
            # The inverse of softplus at -log a.
            squared = torch.empty_like(self.rate).uniform_(FASTEST**2, SLOWEST**2)
            self.rate.copy_((-0.5 * squared.log()).expm1().log())

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state: h, ``(b, width)``, inputs of the convolution, and which rows started."""
        return self._mix(x, {} if state is None else state, None)

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        inputs, convolution = self.convolution(self.project_in(x), past.get("convolution"), documents=documents)
        log_decay, entering = self._gates(inputs)
        first = self._first(x, past, documents)
        written = torch.where(first, 1.0, bounded_sqrt(-torch.expm1(2 * log_decay))) * entering
        h, last = scan(log_decay.exp().masked_fill(first, 0), written, past.get("h"))
        out = self.project_out(gelu(self.project_gate(x), approximate="tanh") * h.to(inputs.dtype))
        started = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        return out, {"h": last, "convolution": convolution, "started": started}

    def _first(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> Tensor:
        """Which tokens are the first of their documents, ``(b, t, 1)``."""
        first = x.new_zeros(x.shape[:2], dtype=torch.bool) if documents is None else starts(documents)
        begins = ~past["started"] if past else torch.ones_like(first[:, 0])
        return torch.cat([begins[:, None], first[:, 1:]], dim=1)[..., None]

    def _gates(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Log decays, and what may enter the state, ``(b, t, width)`` each."""
        by_head = inputs.unflatten(-1, (self.heads, self.size))
        recurrence, entry = (
            at_least_float32(torch.einsum("bthi,hij->bthj", by_head, weight) + bias).sigmoid().flatten(2)
            for weight, bias in (
                (self.recurrence_weight, self.recurrence_bias),
                (self.input_weight, self.input_bias),
            )
        )
        rate = softplus(at_least_float32(self.rate))
        return -SHARPNESS * recurrence * rate, entry * inputs

    def panels(self, x: Tensor) -> list[Panel]:
        """What the recurrence gate keeps."""
        log_decay, _ = self._gates(self.convolution(self.project_in(x[:1]))[0])
        return [decay_panel(log_decay.exp())]
