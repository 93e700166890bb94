"""The minLSTM, a gated recurrence with a forget gate and an input gate."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from mixers.layers.state_panel import decay_panel
from mixers.ops.activations import at_least_float32, positive
from mixers.ops.scan import scan
from zoo import Panel, TokenMixer


class MinLSTM(TokenMixer):
    """A state with a forget gate and an input gate, which add up to 1 and are read from the token alone.

        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * g(W_h x_t)        f, i = sigmoid(W_f x), sigmoid(W_i x)
        write_t = W_out h_t

    An LSTM whose gates do not see the state, without output gate: so it is a scan, computed in parallel. g(u) is
    u + 1/2 for u >= 0 and sigmoid(u) below, which keeps states above zero; products between vectors are elementwise.

    Options:
        expansion: channels of the state a channel of the stream.
        positive: g as above, for which the paper's logarithms need it; otherwise g(u) = u, and states have a sign.

    Cost: time ``4 * expansion * t * d**2`` for the projections, beside which the scan is small. State:
    ``expansion * d`` numbers. All decays lie between 0 and 1, so it cannot count modulo anything.

    Raises:
        ValueError: an expansion below 1.

    Source: Feng et al. 2024, "Were RNNs All We Needed?", arXiv:2410.01201.
    """

    paper: ClassVar[str] = "Feng et al. 2024, arXiv:2410.01201"

    def __init__(self, dim: int, *, expansion: int = 1, positive: bool = True) -> None:
        super().__init__()
        if expansion < 1:
            raise ValueError(f"expansion must be 1 or more, not {expansion}")
        self.positive = positive
        self.project_in = nn.Linear(dim, 3 * expansion * dim, bias=False)
        self.project_out = nn.Linear(expansion * dim, dim, bias=False)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, None, documents)[0]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the next reads; the state is the last h, ``(b, expansion * d)``."""
        return self._mix(x, state, None)

    def _mix(self, x: Tensor, state: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        decay, written = self._gated(x)
        h, state = scan(decay, written, state, documents=documents)
        return self.project_out(h.to(x.dtype)), state

    def _gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The decays, and what is added to the states, ``(b, t, expansion * d)`` each."""
        hidden, forget, enter = at_least_float32(self.project_in(x)).chunk(3, dim=-1)
        # i / (f + i) as a sigmoid of the difference of log i and log f: both may round to zero, the quotient may not.
        odds = logsigmoid(enter) - logsigmoid(forget)
        new = positive(hidden) if self.positive else hidden
        return (-odds).sigmoid(), odds.sigmoid() * new

    def panels(self, x: Tensor) -> list[Panel]:
        """What the gate keeps."""
        return [decay_panel(self._gated(x[:1])[0])]
