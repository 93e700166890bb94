"""Titans' neural memory, with one linear layer: it learns at test time with momentum, and forgets."""

from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.inner_norm import InnerNorm
from mixers.layers.memory_panels import heads_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.activations import at_least_float32
from mixers.ops.documents import by_document
from mixers.ops.titans import TitansState, titans
from zoo import Panel, State, TokenMixer

FORGETTING = 0.01
"""What a token makes the memory forget at the start."""


class Titans(TokenMixer):
    """A linear model a head is the memory; at each token it takes a gradient step with momentum, and forgets a little.

        e_t = d/dz 1/2 |k_t + LN(z) - v_t|**2   at  z = M_c^T k_t
        S_t = m_t S_{t-1} - (1 - m_t) r_t k_t e_t^T        M_t = (1 - f_t) M_{t-1} + S_t
        m_t, f_t = sigmoid(W x_t + w)        r_t = rate / mini_batch * sigmoid(W_r x_t + w_r)
        y_t = q_t + LN(M_t^T q_t)        write_t = W_out [ rmsnorm(y_t) * gain * silu(W_gate x_t) ]

    M: the memory, at first a learned one; S: its momentum; M_c: the memory at the start of the token's mini-batch;
    m, f, r: momentum, forgetting and learning rate, one each a head; q, k, v: silu of a convolution of what is read, q
    and k of length 1. The factor 1 - m keeps the sum of a token's steps from growing with the momentum. The gate W_gate
    is there only with gated=True.

    Options:
        heads: heads, each with a memory; they divide dim.
        mini_batch: tokens whose gradients are taken at the same memory.
        rate: the largest learning rate of a mini-batch.
        epsilon: added to the variance in LN. Predictions begin with a variance of 1; the smaller epsilon, the larger
            the steps from one that is nearly constant over its channels, until the memory is chaotic.
        kernel_size: taps of the convolution, up to 8.
        gated: multiply what the heads write by a gate that is read from the stream.

    Cost: time ``t * (4 d**2 + d * (5 k + 2 mini_batch))``, a loop over mini-batches. State: M, S and M_c,
    ``3 * d * k`` numbers, the place in the mini-batch, and 9 d of the convolution.

    Raises:
        ValueError: heads that do not divide dim, a mini_batch below 1, a rate or epsilon that is not above 0, a
            kernel_size that is out of its range.

    Source: Behrouz et al. 2025, arXiv:2501.00663, its memory alone and of one layer, learning through a layer norm as
    TTT-Linear does.
    """

    paper: ClassVar[str] = "Behrouz et al. 2025, arXiv:2501.00663"
    no_decay: ClassVar[frozenset[str]] = frozenset({"weight", "gate_bias"})

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        mini_batch: int = 16,
        rate: float = 1.0,
        epsilon: float = 1.0,
        kernel_size: int = 4,
        gated: bool = False,
    ) -> None:
        super().__init__()
        if mini_batch < 1:
            raise ValueError(f"mini_batch must be 1 or more, not {mini_batch}")
        if rate <= 0:
            raise ValueError(f"rate must be above 0, not {rate}: a memory has to learn")
        size, _ = head_sizes(dim, heads, None, None)
        self.mini_batch, self.rate = mini_batch, rate
        self.heads_in = ConvolvedHeads(dim, heads, size, size, kernel_size)
        self.project_gates = nn.Linear(dim, 3 * heads, bias=False)
        self.gate_bias = nn.Parameter(torch.empty(3, heads))
        self.weight = nn.Parameter(torch.empty(heads, size, size))
        self.norm = InnerNorm(heads, size, epsilon)
        self.heads_out = NormedHeads(dim, heads, size, nn.Linear(dim, dim, bias=False) if gated else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first memory, whose predictions have the variance 1; start with little forgetting."""
        nn.init.normal_(self.weight)
        with torch.no_grad():
            self.gate_bias.copy_(torch.tensor([0.0, log(FORGETTING / (1 - FORGETTING)), 0.0])[:, None])

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        tensors, _ = self._read(x, None, documents)
        if documents is None:
            return self.heads_out(self._learn(*tensors)[0], x)
        return self.heads_out(by_document(lambda *own: self._learn(*own)[0], documents, *tensors), x)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the memory, its momentum and where it learns, ``(b, h, k, k)`` each."""
        past = {} if state is None else state
        tensors, convolution = self._read(x, past.get("convolution"), None)
        before = TitansState(*(past[name] for name in TitansState._fields)) if past else None
        y, after = self._learn(*tensors, state=before)
        return self.heads_out(y, x), after._asdict() | {"convolution": convolution}

    def panels(self, x: Tensor) -> list[Panel]:
        """How fast the memory learns and forgets at each token."""
        rate, forget, _ = self._gates(x[:1]).unbind(-2)
        learned = heads_panel("learning rate", "A column is a token: the rate of its step.", rate, "learning rate")
        reading = "A column is a token: which part of the memory it makes a head forget."
        return [learned, heads_panel("forgetting", reading, forget, "forgotten")]

    def _gates(self, x: Tensor) -> Tensor:
        """Learning rate, forgetting and momentum, ``(b, t, 3, h)``."""
        asked = at_least_float32(self.project_gates(x)).unflatten(-1, self.gate_bias.shape)
        rate, forget, momentum = (asked + self.gate_bias).sigmoid().unbind(-2)
        return torch.stack([self.rate / self.mini_batch * (1 - momentum) * rate, forget, momentum], dim=-2)

    def _read(
        self, x: Tensor, convolution: Tensor | None, documents: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
        query, key, value, convolution = self.heads_in(x, convolution, documents)
        # Queries come shorter than keys; the memory is asked with what it was taught.
        return (query * query.shape[-1] ** 0.5, key, value, self._gates(x)), convolution

    def _learn(
        self, query: Tensor, key: Tensor, value: Tensor, gates: Tensor, *, state: TitansState | None = None
    ) -> tuple[Tensor, TitansState]:
        if state is None:
            b = query.shape[0]
            first = self.weight.expand(b, -1, -1, -1)
            phase = torch.zeros(b, dtype=torch.int64, device=query.device)
            state = TitansState(first, torch.zeros_like(first), first, phase)
        rate, forget, momentum = gates.unbind(-2)
        y, after = titans(
            query,
            key,
            value,
            rate,
            forget,
            momentum,
            self.norm.gain,
            self.norm.bias,
            state,
            mini_batch=self.mini_batch,
            gradient=self.norm.gradient,
        )
        return self.norm(query, y), after
