"""Muon."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.optimizers.adamw import AdamW
from zoo.optimizers.groups import Group, as_groups


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for the hidden matrices, AdamW for everything else.

        m = momentum m + (1 - momentum) g
        W = W - lr ( 0.2 sqrt(max(rows, columns)) U V^T + weight_decay W )     where  m = U S V^T

    g: the gradient; m: with nesterov=true, its average with the gradient once more. All singular values of m are
    brought near one by a few steps of a Newton-Schulz iteration in bfloat16. The factor before U V^T makes the update
    as large as one of AdamW (Liu et al. 2025), so that one learning rate serves both.

    A hidden matrix has two axes and is no embedding, no unembedding, and not named in a module's `no_decay`. Stacks of
    matrices, of three axes and more, are left to AdamW.

    Options:
        momentum: how much of the average of the gradient is kept in a step, for matrices.
        nesterov: look one step ahead, for matrices.
        iterations: steps of the Newton-Schulz iteration.
        beta1: of AdamW, how much of the average of the gradient is kept in a step.
        beta2: of AdamW, how much of the average of its square is kept in a step.
        eps: of AdamW, added to the divisor.

    State: one number a parameter of a hidden matrix, two of all others.

    Raises:
        ValueError: a momentum or a beta outside of [0, 1), iterations outside of 1 to 99, or a negative eps.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv:2502.16982.
    """

    paper: ClassVar[str] = "Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982"

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        iterations: int = 5,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} should be at least 0 and less than 1")
        if not 1 <= iterations < 100:
            raise ValueError(f"iterations={iterations} should be from 1 to 99")
        hidden, others = _split(as_groups(params))
        common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self._members: list[tuple[torch.optim.Optimizer, int]] = []
        if hidden:
            orthogonal: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "ns_steps": iterations}
            muon = torch.optim.Muon(hidden, **common, **orthogonal, adjust_lr_fn="match_rms_adamw")
            self._members.append((muon, len(hidden)))
        if others:
            adamw = AdamW(others, **common, beta1=beta1, beta2=beta2, eps=eps)
            self._members.append((adamw, len(others)))
        super().__init__([*hidden, *others], common)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what the closure gives, which is called first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        begin = 0
        for member, count in self._members:
            # both work on the groups and the state of this one, which a schedule and a checkpoint set from outside
            member.param_groups, member.state = self.param_groups[begin : begin + count], self.state
            member.step()
            begin += count
        return loss


def _split(groups: Iterable[Group]) -> tuple[list[Group], list[Group]]:
    """The groups of hidden matrices, and those of everything else."""
    hidden, others = [], []
    for group in groups:
        is_hidden = group.get("role", "matrix") == "matrix"
        matrices = [tensor for tensor in group["params"] if is_hidden and tensor.ndim == 2]
        rest = [tensor for tensor in group["params"] if not (is_hidden and tensor.ndim == 2)]
        hidden += [{**group, "params": matrices}] if matrices else []
        others += [{**group, "params": rest}] if rest else []
    return hidden, others
