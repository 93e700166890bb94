"""The sLSTM, whose gates see the state: a recurrence that no scan computes."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, logsigmoid, silu

from mixers.layers.short_conv import ShortConv
from mixers.ops.activations import at_least_float32
from mixers.ops.loop import loop
from zoo import Panel, State, TokenMixer

EMPTY = -1e30
"""The logarithm of the scale of a state that holds nothing; -inf, with a gradient."""

SHOWN_CHANNELS, SHOWN_TOKENS = 64, 128
"""The gates of so many channels and tokens are shown."""


class SLSTM(TokenMixer):
    """An LSTM with exponential gates, which see what the state gave for the token before.

        i, f = W_g silu(conv(x))_t + R_g y_{t-1} + b_g;  z, o = W_c x_t + R_c y_{t-1} + b_c
        c_t = σ(f) c_{t-1} + exp(i) tanh(z)        n_t = σ(f) n_{t-1} + exp(i)        y_t = σ(o) c_t / n_t
        write_t = W_out [ norm(y_t) * gain ]

    c: the cell; n: what the exponential input gates have added up to; R: block-diagonal by heads; norm: to zero mean
    and unit variance in each head; products between vectors are elementwise. c and n are kept as multiples of e^m,
    with m_t = max(i, m_{t-1} + log σ(f)), so that no gate overflows.

    Options:
        heads: blocks of R; they divide dim.
        kernel_size: taps of the convolution in front of i and f, up to 8.
        layer_index: the layer, from 0: the deeper, the more channels of a head start with an open forget gate.
        layers: of the model.

    Cost: time ``t * d * (5 d + 4 d / heads)``, and t steps that wait for one another: train it on short sequences.
    State: ``d * (4 + kernel_size - 1)`` numbers. Its gates see its state, so that it tracks what a scan cannot, e.g.
    whether a count is odd.

    Raises:
        ValueError: heads that do not divide dim, a kernel_size that is out of its range.

    Source: Beck et al. 2024, "xLSTM", arXiv:2405.04517.
    """

    paper: ClassVar[str] = "Beck et al. 2024, arXiv:2405.04517"

    def __init__(
        self, dim: int, *, heads: int = 4, kernel_size: int = 4, layer_index: int = 0, layers: int = 1
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide dim: with dim={dim}, not {heads}")
        self.heads, self.size = heads, dim // heads
        self.depth = layer_index / max(1, layers - 1)
        self.convolution = ShortConv(dim, kernel_size)
        self.project_gates = nn.Linear(dim, 2 * dim)
        self.project_cell = nn.Linear(dim, 2 * dim)
        self.recurrence = nn.Parameter(torch.empty(heads, self.size, 4 * self.size))
        self.gain = nn.Parameter(torch.empty(dim))
        self.project_out = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start without recurrence of the gates, and with forget gates from nearly open to nearly shut in each head."""
        nn.init.zeros_(self.recurrence)
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.project_cell.bias)
        with torch.no_grad():
            place = torch.arange(self.size, device=self.gain.device) / max(1, self.size - 1)
            forget = 5 - 12 * place ** (0.3 + 1.3 * self.depth)
            self.project_gates.bias.copy_(torch.cat([torch.zeros_like(self.gain), forget.repeat(self.heads)]))

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds c, n, m and y, ``(b, h, k)`` each, and inputs of the convolution."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: State | None, documents: Tensor | None) -> tuple[Tensor, State]:
        raw, convolution = self._raw(x, None if state is None else state["convolution"], documents)
        empty = _empty(raw[:, 0, 0])
        recurrence = at_least_float32(self.recurrence)
        y, cell = loop(
            lambda gates, before: _cell(gates, before, recurrence),
            raw,
            empty if state is None else {name: state[name] for name in empty},
            documents=documents,
            initial=empty,
        )
        normed = layer_norm(y, (self.size,)).flatten(2) * self.gain
        return self.project_out(normed.to(x.dtype)), {**cell, "convolution": convolution}

    def _raw(self, x: Tensor, past: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the token says to i, f, z and o, ``(b, t, 4, h, k)``, and the convolution's state."""
        convolved, convolution = self.convolution(x, past, documents=documents)
        raw = torch.cat([self.project_gates(silu(convolved)), self.project_cell(x)], dim=-1)
        return at_least_float32(raw).unflatten(-1, (4, self.heads, self.size)), convolution

    def panels(self, x: Tensor) -> list[Panel]:
        """What the forget gates keep, as far as the token decides it."""
        raw, _ = self._raw(x[:1, :SHOWN_TOKENS], None, None)
        forget = raw[0, :, 1].flatten(1)[:, :SHOWN_CHANNELS].t().sigmoid()
        reading = "A column is a token: how far it opens each channel's forget gate, before the state has its say."
        return [Panel("forget gates in the first sequence", reading, forget, "gate", ("channel", "token"))]


def _empty(like: Tensor) -> dict[str, Tensor]:
    """The state before the first token, of the shape ``(b, h, k)`` of `like`."""
    zero = torch.zeros_like(like)
    return {"c": zero, "n": zero, "m": torch.full_like(like, EMPTY), "y": zero}


def _cell(raw: Tensor, state: dict[str, Tensor], recurrence: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    recurrent = torch.einsum("bhk,hkv->bhv", state["y"], recurrence).unflatten(-1, (4, -1)).transpose(1, 2)
    enter, forget, new, out = (raw + recurrent).unbind(1)
    kept = state["m"] + logsigmoid(forget)
    m = torch.maximum(enter, kept)
    kept, enter = (kept - m).exp(), (enter - m).exp()
    c = torch.addcmul(enter * new.tanh(), kept, state["c"])
    n = torch.addcmul(enter, kept, state["n"])
    y = out.sigmoid() * c / n
    return y, {"c": c, "n": n, "m": m, "y": y}
