"""Who does the work for a token in a mixture of experts, and what keeps experts from starving."""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.float32 import KeepsFloat32
from mixers.ops.experts import balance_loss, count_choices, entropy, route, z_loss

Balance = Literal["bias", "loss"]


class Routed(NamedTuple):
    """The experts of each token.

    Args:
        expert: best first, ``(b, t, r)``.
        gate: their weights, which sum to 1 for each token, ``(b, t, r)``.
        losses: ``z``, and ``balance`` with balance="loss".
        metrics: ``tokens_per_expert``, how many tokens chose each expert, ``(e,)``; ``load``, the same as shares of all
            choices; ``entropy`` of the router's probabilities, in nats; ``dead``, how many experts no token chose.
    """

    expert: Tensor
    gate: Tensor
    losses: dict[str, Tensor]
    metrics: dict[str, Tensor]


class Router(KeepsFloat32):
    """Chooses the experts of each token by its own read alone.

        u_t = W x_t        chosen = the top_k largest of u_t + bias        gates = softmax of u_t over the chosen

    Args:
        dim: model width.
        experts: how many to choose from.
        top_k: how many a token gets.
        balance: "bias" moves the bias of the choice by `after_update`; "loss" has a loss in its place, and no bias.
        bias_rate: by how much an update moves the bias.
        balance_weight: of the balancing loss.
        z_weight: of the loss that keeps logits small.

    Raises:
        ValueError: top_k that is not from 1 to experts, an unknown balance, a negative weight or rate.

    Source: balance by bias: arXiv:2408.15664; by loss: Switch, arXiv:2101.03961. z-loss: ST-MoE, arXiv:2202.08906.
    """

    # In half precision a bias of 1 would lose its steps of 0.001.
    in_float32: ClassVar[frozenset[str]] = frozenset({"choice_bias"})

    choice_bias: Tensor

    def __init__(
        self,
        dim: int,
        experts: int,
        top_k: int,
        *,
        balance: Balance = "bias",
        bias_rate: float = 1e-3,
        balance_weight: float = 1e-2,
        z_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= experts:
            raise ValueError(f"top_k={top_k} should be from 1 to experts={experts}")
        if balance not in ("bias", "loss"):
            raise ValueError(f'balance must be "bias" or "loss", not {balance!r}')
        for name, value in {"bias_rate": bias_rate, "balance_weight": balance_weight, "z_weight": z_weight}.items():
            if value < 0:
                raise ValueError(f"{name}={value} should be 0 or more")
        self.experts, self.top_k, self.balance, self.bias_rate = experts, top_k, balance, bias_rate
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.weight = nn.Parameter(torch.empty(experts, dim))
        self.register_buffer("choice_bias", torch.empty(experts))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight as `nn.Linear` draws its own, and start the bias at zero."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.choice_bias)

    def forward(self, x: Tensor) -> Routed:
        """Choose for reads ``(b, t, d)``."""
        # in half precision close choices would fall by rounding
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.to(wide), self.weight.to(wide))
        expert, gate = route(logits, self.top_k, self.choice_bias if self.balance == "bias" else None)
        counts = count_choices(expert, self.experts)
        load = counts.to(logits.dtype) / expert.numel()
        losses = {"z": self.z_weight * z_loss(logits)} if self.z_weight else {}
        if self.balance == "loss":
            losses["balance"] = self.balance_weight * balance_loss(logits, load)
        dead = (counts == 0).to(load.dtype).sum()  # no whole number: those add up over micro-batches
        metrics = {"tokens_per_expert": counts, "load": load, "entropy": entropy(logits).detach(), "dead": dead}
        return Routed(expert, gate, losses, metrics)

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Make the experts that were chosen too rarely in this step a little more likely, the others less."""
        if self.balance == "bias" and "tokens_per_expert" in metrics:
            counts = metrics["tokens_per_expert"].to(self.choice_bias.device)
            # In whole numbers: the mean of equal shares may differ from them by rounding, which has a sign.
            below_mean = torch.sign(counts.sum() - self.experts * counts)
            self.choice_bias += self.bias_rate * below_mean.to(self.choice_bias)
