"""The channel mixer of RWKV, which sees the token before as well."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from mixers.ops.token_shift import token_shift
from zoo import Panel, State, TokenMixer


class RWKVChannel(TokenMixer):
    """A two-layer network with squared ReLU, on channels of which some are those of the token before.

        write_t = W_v relu(W_k u_t)**2        u_t = x_t + (x_{t-1} - x_t) * μ

    μ: for each channel, how much of the token before it takes. With gated=True the write is multiplied by
    sigmoid(W_r (x_t + (x_{t-1} - x_t) * μ_r)), as before RWKV-7. It stands in the place of a channel mixer
    (rwkv7/rwkv-channel), and may stand anywhere else.

    Options:
        hidden: hidden width; None for 4 dim, or with gated=True for 3.5 dim.
        gated: multiply the write by a gate that is read from the stream.
        layer_index: counted from 0; earlier layers start by taking more of the token before.
        layers: how many the model has.

    Cost: time ``2 * t * d * hidden``. State: the last read, ``d`` numbers.

    Raises:
        ValueError: hidden below 1, a layer_index that is not below layers.

    Source: Peng et al. 2025, arXiv:2503.14456; gated: Peng et al. 2024, arXiv:2404.05892.
    """

    paper: ClassVar[str] = "Peng et al. 2025, arXiv:2503.14456"

    def __init__(
        self, dim: int, *, hidden: int | None = None, gated: bool = False, layer_index: int = 0, layers: int = 1
    ) -> None:
        super().__init__()
        hidden = (7 * dim // 2 if gated else 4 * dim) if hidden is None else hidden
        if hidden < 1:
            raise ValueError(f"hidden must be 1 or more, not {hidden}")
        if not 0 <= layer_index < layers:
            raise ValueError(f"layer_index must be from 0 to layers - 1: with layers={layers}, not {layer_index}")
        self.fresh = 1 - layer_index / layers
        self.mix = nn.Parameter(torch.empty(dim))
        self.gate_mix = nn.Parameter(torch.empty(dim)) if gated else None
        self.project_in = nn.Linear(dim, hidden, bias=False)
        self.project_gate = nn.Linear(dim, dim, bias=False) if gated else None
        self.project_out = nn.Linear(hidden, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with shares of the token before that fall with the channel and the layer, and with writes of zero."""
        place = torch.arange(len(self.mix), device=self.mix.device) / len(self.mix)
        with torch.no_grad():
            for mix in (self.mix, self.gate_mix):
                if mix is not None:
                    mix.copy_(1 - place ** (self.fresh if self.gate_mix is not None else self.fresh**4))
        bound = 0.5 * len(self.mix) ** -0.5
        nn.init.uniform_(self.project_in.weight, -bound, bound)
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state is the last read, ``(b, d)``."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        before, state = token_shift(x, state, documents=documents)
        change = before - x
        out = self.project_out(relu(self.project_in(x + change * self.mix)).square())
        if self.gate_mix is not None and self.project_gate is not None:
            out = out * self.project_gate(x + change * self.gate_mix).sigmoid()
        return out, state

    def panels(self, x: Tensor) -> list[Panel]:  # noqa: ARG002 - the shares are the same for all reads
        """How much of the token before each channel takes."""
        title, reading = (
            "token shift",
            "How much of the token before a channel takes: 0 is the token itself, 1 the other.",
        )
        return [Panel(title, reading, self.mix, quantity="share of the token before", axes=("channel",))]
