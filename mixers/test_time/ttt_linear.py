"""TTT-Linear: a memory that is trained by gradient descent while the sequence is read."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from mixers.layers.convolved_heads import ConvolvedHeads, head_sizes
from mixers.layers.inner_norm import InnerNorm
from mixers.layers.memory_panels import heads_panel
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.activations import at_least_float32
from mixers.ops.documents import by_document
from mixers.ops.ttt import TTTState, ttt
from zoo import Panel, State, TokenMixer


class TTTLinear(TokenMixer):
    """A linear model a head is the memory; it is trained on each mini-batch of tokens to turn keys into values.

        loss_s = 1/2 b_s |k_s + LN(W^T k_s + c) - v_s|**2        b_s = rate * sigmoid(W_b x_s + w_b)
        W_t = W - r_i sum_s d loss_s / dW        c_t = c - r_i sum_s d loss_s / dc        r_i = max(1 + o_i, 0) / i
        y_t = q_t + LN(W_t^T q_t + c_t)        write_t = W_out [ rmsnorm(y_t) * gain * silu(W_gate x_t) ]

    W, c: the memory at the start of the mini-batch, that of the first one learned; s: the tokens up to t of t's
    mini-batch, in which t is the i-th, so that steps follow the mean of their gradients; o: learned; q, k, v: silu of a
    convolution of what is read, q and k of length 1. The gate W_gate is there only with gated=True.

    Options:
        heads: heads, each with a memory; they divide dim.
        mini_batch: tokens whose gradients are taken at the same memory.
        rate: the largest learning rate of the memory.
        epsilon: added to the variance in LN. Predictions begin with a variance of 1; the smaller epsilon, the larger
            the steps from one that is nearly constant over its channels, until the memory is chaotic.
        kernel_size: taps of the convolution, up to 8.
        gated: multiply what the heads write by a gate that is read from the stream.

    Cost: time ``t * (4 d**2 + d * (4 k + 2 mini_batch))``, a loop over mini-batches. State: W, and the sum of the
    gradients of a mini-batch that has begun, ``2 * d * (k + 1)`` numbers, its number of tokens, and 9 d of the
    convolution.

    Raises:
        ValueError: heads that do not divide dim, a mini_batch below 1, a rate or epsilon that is not above 0, a
            kernel_size that is out of its range.

    Source: Sun et al. 2024, arXiv:2407.04620, without its rotary positions. The paper has an epsilon of 1e-6.
    """

    paper: ClassVar[str] = "Sun et al. 2024, arXiv:2407.04620"
    no_decay: ClassVar[frozenset[str]] = frozenset({"weight", "memory_bias"})

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
        self.project_rate = nn.Linear(dim, heads)
        self.rate_offset = nn.Parameter(torch.empty(mini_batch))
        self.weight = nn.Parameter(torch.empty(heads, size, size))
        self.memory_bias = nn.Parameter(torch.empty(heads, 1, size))
        self.norm = InnerNorm(heads, size, epsilon)
        self.heads_out = NormedHeads(dim, heads, size, nn.Linear(dim, dim, bias=False) if gated else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first memory, whose predictions have the variance 1, since keys have the length 1."""
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.memory_bias)
        nn.init.zeros_(self.rate_offset)

    def forward(self, x: Tensor, *, documents: Tensor | None = None) -> Tensor:
        """Mix whole sequences, ``(b, t, d)`` to ``(b, t, d)``; of packed `documents`, ``(b, t)``, each by itself."""
        tensors, _ = self._read(x, None, documents)
        if documents is None:
            return self.heads_out(self._learn(*tensors)[0], x)
        return self.heads_out(by_document(lambda *own: self._learn(*own)[0], documents, *tensors), x)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Mix the next reads; the state holds the memory, ``(b, h, k + 1, k)``, and what its mini-batch has learned."""
        past = {} if state is None else state
        tensors, convolution = self._read(x, past.get("convolution"), None)
        before = TTTState(past["weight"], past["gradient"], past["phase"]) if past else None
        y, after = self._learn(*tensors, state=before)
        return self.heads_out(y, x), after._asdict() | {"convolution": convolution}

    def panels(self, x: Tensor) -> list[Panel]:
        """How fast the memory learns from each token."""
        reading = "A column is a token: the learning rate of its loss."
        return [heads_panel("learning rate", reading, self._rates(x[:1]), "learning rate")]

    def _rates(self, x: Tensor) -> Tensor:
        return self.rate * at_least_float32(self.project_rate(x)).sigmoid()

    def _read(
        self, x: Tensor, convolution: Tensor | None, documents: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
        query, key, value, convolution = self.heads_in(x, convolution, documents)
        # Queries come shorter than keys; the memory is asked with what it was taught.
        return (query * query.shape[-1] ** 0.5, key, value, self._rates(x)), convolution

    def _learn(
        self, query: Tensor, key: Tensor, value: Tensor, importance: Tensor, *, state: TTTState | None = None
    ) -> tuple[Tensor, TTTState]:
        b, t, _, _ = query.shape
        if state is None:
            first = torch.cat([self.weight, self.memory_bias], dim=1).expand(b, -1, -1, -1)
            state = TTTState(first, torch.zeros_like(first), torch.zeros(b, dtype=torch.int64, device=query.device))
        place = (state.phase[:, None] + torch.arange(t, device=query.device)) % self.mini_batch
        share = (1 + at_least_float32(self.rate_offset)).clamp_min(0)[place] / (1 + place)
        rate = share[..., None].expand_as(importance)
        gain, bias = self.norm.gain, self.norm.bias
        y, after = ttt(
            query,
            key,
            value,
            rate,
            gain,
            bias,
            state,
            importance=importance,
            mini_batch=self.mini_batch,
            gradient=self.norm.gradient,
        )
        return self.norm(query, y), after
