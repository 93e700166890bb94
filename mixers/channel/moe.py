"""A mixture of experts: many feed-forward networks, of which each token uses a few of its own choice."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixers.layers.router import Balance, Router
from mixers.ops.experts import dispatch, grouped_linear
from zoo import ChannelMixer, Mixed

EXPANSION = 8 / 3
"""The hidden channels of all networks that a token uses, a channel of the stream, by default."""


class MoE(ChannelMixer):
    """A mixture of SwiGLU networks, none of which ever turns a token away.

        write = SwiGLU_0(x) + sum_{e chosen} g_e SwiGLU_e(x)        SwiGLU(x) = W_o (silu(W_g x) * W_v x)
        chosen = the top_k largest of u + bias                      g = softmax of u = W_r x over the chosen

    Every token chooses by its own read alone, so that neither the future nor the other rows of the batch have a say in
    it; expert 0 is the shared one.

    Options:
        experts: how many to choose from.
        top_k: how many a token uses beside the shared one. With 1 the gate is always 1, and the router learns from
            its losses alone.
        shared_expert: add an expert that every token uses with gate 1.
        hidden: hidden width of each expert; None for one with which a token uses as many parameters as in swiglu.
        balance: what keeps experts from starving: "bias" adds a bias to the choice (not to the gates) and nudges it
            between steps, without a gradient: up where an expert was chosen by fewer tokens of the step than the mean,
            down where by more. "loss" adds the balancing loss of Switch, which is that of a micro-batch.
        bias_rate: by how much a step moves the bias, with balance="bias".
        balance_weight: of the balancing loss, with balance="loss".
        z_weight: of the loss that keeps the router's logits small.

    Cost: time ``3 * t * d * hidden`` for each of the ``top_k + shared_expert`` networks of a token; parameters grow
    with experts, time does not. `active_parameters` counts those that one token uses.

    Raises:
        ValueError: top_k that is not from 1 to experts, a hidden width below 1, a negative weight or rate.

    Source: Shazeer et al. 2017, arXiv:1701.06538; fine experts beside a shared one: Dai et al. 2024, arXiv:2401.06066;
    balance by bias: arXiv:2408.15664; by loss: Switch, arXiv:2101.03961. z-loss: ST-MoE, arXiv:2202.08906.
    """

    paper: ClassVar[str] = "Dai et al. 2024 (DeepSeekMoE), arXiv:2401.06066"

    def __init__(
        self,
        dim: int,
        *,
        experts: int = 8,
        top_k: int = 2,
        shared_expert: bool = True,
        hidden: int | None = None,
        balance: Balance = "bias",
        bias_rate: float = 1e-3,
        balance_weight: float = 1e-2,
        z_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        weights = {"bias_rate": bias_rate, "balance_weight": balance_weight, "z_weight": z_weight}
        self.router = Router(dim, experts, top_k, balance=balance, **weights)
        # a multiple of 16, which matrix units like
        width = -(-round(dim * EXPANSION / (top_k + shared_expert)) // 16) * 16 if hidden is None else hidden
        if width < 1:
            raise ValueError(f"hidden={hidden} should be 1 or more")
        self.project_in = nn.Parameter(torch.empty(experts, 2 * width, dim))
        self.project_out = nn.Parameter(torch.empty(experts, dim, width))
        self.shared_in = nn.Linear(dim, 2 * width, bias=False) if shared_expert else None
        self.shared_out = nn.Linear(width, dim, bias=False) if shared_expert else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the experts as `nn.Linear` draws its own weights."""
        for stack in (self.project_in, self.project_out):
            bound = stack.shape[-1] ** -0.5
            nn.init.uniform_(stack, -bound, bound)

    @property
    def active_parameters(self) -> int:
        """How many parameters one token uses."""
        idle = self.router.experts - self.router.top_k
        return sum(p.numel() for p in self.parameters()) - idle * (
            self.project_in[0].numel() + self.project_out[0].numel()
        )

    def forward(self, x: Tensor) -> Mixed:
        """(b, t, d) to (b, t, d), each token by itself, with the losses and metrics of a `Router`."""
        routed = self.router(x)
        rows = dispatch(routed.expert, self.router.experts)
        counts = rows.counts.sum(1)
        reads = x.flatten(0, 1).index_select(0, rows.token)
        written = grouped_linear(_gated(grouped_linear(reads, self.project_in, counts)), self.project_out, counts)
        by_slot = written.index_select(0, rows.place).unflatten(0, routed.expert.shape)
        out = torch.einsum("btr,btrd->btd", routed.gate.to(by_slot.dtype), by_slot)
        if self.shared_in is not None and self.shared_out is not None:
            out = out + self.shared_out(_gated(self.shared_in(x)))
        return Mixed(out, routed.losses, routed.metrics)

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Move the bias of the choice, with balance="bias"."""
        self.router.after_update(metrics)


def _gated(projected: Tensor) -> Tensor:
    gate, value = projected.chunk(2, dim=-1)
    return F.silu(gate) * value
