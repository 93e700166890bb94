"""HGRN2: a gated memory whose key is what the gate forgets, under a lower bound that rises from layer to layer."""

from math import log
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, silu

from mixers.layers.linear_memory import Heads, LinearMemory, memory_sizes
from mixers.layers.normed_heads import NormedHeads
from mixers.ops.activations import at_least_float32


class HGRN2(LinearMemory):
    """A memory in which the same gate says what is kept of each channel, and how much of it is written anew.

        f_t = beta + (1 - beta) sigmoid(W_f x_t)                 beta = layer / layers at the start
        S_t = Diag(f_t) S_{t-1} + (1 - f_t) i_t^T                y_t = S_t^T silu(W_q x_t)
        write_t = W_out [ rmsnorm(y_t) * gain ]                  i_t = W_i x_t

    f: the forget gate, a number a channel, cut into heads like the others; beta: its bound, so that deep layers
    remember long and the first layer may forget all. The norm is one of all heads together. The logarithm of f is
    computed from those of beta and of the sigmoid, and 1 - f from the sigmoid's complement: neither loses digits.

    Options:
        heads: heads; they divide dim.
        bound: "learned" learns beta, a number a channel in each layer but the first, where it is 0; with "schedule" it
            stays what it is at the start, which is cheaper beyond the first layer.
        layer_index: the layer, from 0.
        layers: how many layers there are.

    Cost: time ``t * d**2 / heads`` beside the projections, linear in t. State: ``d**2 / heads`` numbers.

    Raises:
        ValueError: heads that do not divide dim, a layer_index that is none of the layers.

    Source: Qin et al. 2024, arXiv:2404.07904. There the bounds are cumulated sums of a softmax over all layers; here
    each layer learns its own, which starts at the same place.
    """

    paper: ClassVar[str] = "Qin et al. 2024, arXiv:2404.07904"

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        bound: Literal["learned", "schedule"] = "learned",
        layer_index: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if not 0 <= layer_index < layers:
            raise ValueError(f"layer_index={layer_index} is none of layers={layers}: it counts them from 0")
        memory_sizes(dim, heads, None, 1, None)
        self.heads, self.start = heads, layer_index / layers
        learned = bound == "learned" and layer_index > 0
        self.bound = nn.Parameter(torch.empty(dim)) if learned else None
        # A scheduled bound is a promise to the operator, a learned one may go anywhere.
        self.floor = log(self.start) if self.start and not learned else None
        self.project_in = nn.Linear(dim, 3 * dim, bias=False)
        # One head that is as wide as the model: the norm is one of all heads together.
        self.heads_out = NormedHeads(dim, 1, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with the bounds of the schedule."""
        if self.bound is not None:
            nn.init.constant_(self.bound, log(self.start / (1 - self.start)))

    def _heads(self, x: Tensor) -> Heads:
        query, gate, value = self.project_in(x).chunk(3, dim=-1)
        log_decay, key = self._gates(at_least_float32(gate))
        return Heads(*(of.unflatten(-1, (self.heads, -1)) for of in (silu(query), key.to(x.dtype), value, log_decay)))

    def _gates(self, gate: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of f, and 1 - f."""
        if not self.start:
            return logsigmoid(gate), (-gate).sigmoid()
        start = log(self.start / (1 - self.start))
        logit = gate.new_full((), start) if self.bound is None else at_least_float32(self.bound)
        # log(1 - beta) + log(1 - sigmoid) is the logarithm of 1 - f, log(beta) that of what is always kept
        kept = torch.logaddexp(logsigmoid(logit), logsigmoid(-logit) + logsigmoid(gate))
        return kept, (logsigmoid(-logit) + logsigmoid(-gate)).exp()

    def _write(self, read: Tensor, x: Tensor) -> Tensor:
        return self.heads_out(read.flatten(2), x)
