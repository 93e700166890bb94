"""The mesa layer: at every token, the best linear map from keys to values, solved exactly."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.memory_panels import influence_panel, kept_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.activations import at_least_float32
from mixers.ops.mesa import mesa
from zoo import Panel, State, TokenMixer

LEAST_RIDGE, FIRST_RIDGE = 0.25, 1.0
"""The regression is never penalised by less, which bounds what is divided by; and by so much at the start."""

SHORTEST_MEMORY, LONGEST_MEMORY = 3.0, 6.0
"""The bias of the forget gate at the start, over the heads."""

SHOWN_TOKENS = 64
"""So many tokens are shown."""


class Mesa(TokenMixer):
    """Linear attention that reads through the solution of a ridge regression from all keys so far to their values.

        A_t = f_t A_{t-1} + b_t k_t k_t^T        C_t = f_t C_{t-1} + b_t k_t v_t^T        f_t, b_t = sigmoid(W x_t + w)
        y_t = C_t^T (A_t + Diag(r))^{-1} q_t        r = softplus(R) + 0.25
        write_t = W_out [ rmsnorm(y_t) * gain * silu(W_gate x_t) ]

    A, C: the memory of a head; q, k, v: silu of a convolution of what is read, q and k of length 1; r: the ridge, one a
    head and channel. With A = 0 it would be linear attention; what A adds is that similar keys do not blur each other's
    values. The gate W_gate is there only with gated=True.

    Options:
        heads: heads, each with a memory; they divide dim.
        kernel_size: taps of the convolution, up to 8.
        gated: multiply what the heads write by a gate that is read from the stream.

    Cost: time ``t * (4 d**2 + heads * k**3 / 3)`` and more than linear attention's in memory: ``k**2`` numbers a token
    and head are kept for the gradient. State: A and C, ``2 * heads * k**2`` numbers, and 9 d of the convolution.

    Raises:
        ValueError: heads that do not divide dim, a kernel_size that is out of its range.

    Source: von Oswald et al. 2025, "MesaNet", arXiv:2506.05233, which solves by conjugate gradients, and where v is not
    convolved.
    """

    paper: ClassVar[str] = "von Oswald et al. 2025, arXiv:2506.05233"
    no_decay: ClassVar[frozenset[str]] = frozenset({"ridge", "gate_bias"})

    def __init__(self, dim: int, *, heads: int = 4, kernel_size: int = 4, gated: bool = False) -> None:
        super().__init__()
        size, _ = head_sizes(dim, heads, None, None)
        self.heads_in = ConvolvedHeads(dim, heads, size, size, kernel_size)
        self.project_gates = nn.Linear(dim, 2 * heads, bias=False)
        self.gate_bias = nn.Parameter(torch.empty(2, heads))
        self.ridge = nn.Parameter(torch.empty(heads, size))
        self.heads_out = NormedHeads(dim, heads, size, nn.Linear(dim, dim, bias=False) if gated else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with memories of several lengths, writes that count a half, and a ridge of 1."""
        forget, write = self.gate_bias.unbind()
        with torch.no_grad():
            forget.copy_(torch.linspace(SHORTEST_MEMORY, LONGEST_MEMORY, len(forget)))
            write.zero_()
            self.ridge.fill_(FIRST_RIDGE - LEAST_RIDGE).expm1_().log_()  # the inverse of softplus

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        return self._mix(x, {}, documents)[0]

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds A and C, ``(b, h, k, k)``, and past inputs of the convolution."""
        return self._mix(x, {} if state is None else state, None)

    def panels(self, x: Tensor) -> list[Panel]:
        """How values reach later tokens, and what each head keeps of its memory."""
        shown = x[:1, :SHOWN_TOKENS]
        query, key, value, _ = self.heads_in(shown, None, None)
        log_decay, beta = self._gates(shown)
        influence = influence_panel(lambda of: mesa(query, key, of, log_decay, beta, self._ridge())[0], value)
        return [influence, kept_panel(log_decay)]

    def _gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The log decay, and how much a token counts, ``(b, t, h)`` each."""
        asked = at_least_float32(self.project_gates(x)).unflatten(-1, self.gate_bias.shape) + self.gate_bias
        forget, write = asked.unbind(-2)
        return logsigmoid(forget), write.sigmoid()

    def _ridge(self) -> Tensor:
        return softplus(at_least_float32(self.ridge)) + LEAST_RIDGE

    def _mix(self, x: Tensor, past: dict[str, Tensor], documents: Tensor | None) -> tuple[Tensor, State]:
        query, key, value, convolution = self.heads_in(x, past.get("convolution"), documents)
        log_decay, beta = self._gates(x)
        memory = (past["covariance"], past["memory"]) if past else None
        y, after = mesa(query, key, value, log_decay, beta, self._ridge(), memory, documents=documents)
        return self.heads_out(y, x), {"covariance": after[0], "memory": after[1], "convolution": convolution}
