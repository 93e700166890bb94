"""Muon."""

import math
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
    brought near one by a few steps of a Newton-Schulz iteration, in float32 on a CPU and in bfloat16 elsewhere. The
    factor before U V^T makes the update as large as one of AdamW (Liu et al. 2025), so that one learning rate serves
    both.

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
        for group in hidden:
            group |= {"momentum": momentum, "nesterov": nesterov, "iterations": iterations}
        adamw: dict[str, Any] = {"beta1": beta1, "beta2": beta2, "eps": eps}
        self._adamw = AdamW(others, lr=lr, weight_decay=weight_decay, **adamw) if others else None
        self._hidden = len(hidden)
        super().__init__([*hidden, *others], {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what the closure gives, which is called first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups[: self._hidden]:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        if self._adamw is not None:
            # it works on the groups and the state of this one, which a schedule and a checkpoint set from outside
            self._adamw.param_groups, self._adamw.state = self.param_groups[self._hidden :], self.state
            self._adamw.step()
        return loss

    def _update(self, matrix: Tensor, gradient: Tensor, group: Group) -> None:
        state, momentum = self.state[matrix], group["momentum"]
        if not state:
            state["average"] = torch.zeros_like(gradient)
        average = state["average"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(average, momentum) if group["nesterov"] else average
        update = orthogonalize(ahead, group["iterations"], precision_on(matrix.device))
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(matrix.shape)))


def precision_on(device: torch.device) -> torch.dtype:
    """What to iterate in: a CPU without bfloat16 units takes seventeen times as long for it as for float32."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def orthogonalize(matrix: Tensor, iterations: int, dtype: torch.dtype) -> Tensor:
    """The matrix with all its singular values near one, about 0.7 to 1.2; one of zeros stays so.

    A polynomial of fifth degree, as steep at zero as can be, is applied to the singular values again and again.

    Args:
        matrix: ``(rows, columns)``.
        iterations: of the polynomial; five reach singular values down to about a thousandth of the largest.
        dtype: of the computation and of what is returned.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(dtype).T if is_tall else matrix.to(dtype)  # so that the products below are the smaller ones
    x = x / x.norm().clamp(min=1e-7)  # no singular value is above one, for which the polynomial is made
    a, b, c = 3.4445, -4.7750, 2.0315
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x


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
