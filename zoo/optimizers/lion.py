"""Lion."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from zoo.optimizers.groups import Group


class Lion(torch.optim.Optimizer):
    """Steps of exactly one learning rate in every number, in the direction of the sign of an average gradient.

        p = p - lr ( sign(beta1 m + (1 - beta1) g) + weight_decay p )
        m = beta2 m + (1 - beta2) g

    g: the gradient. The authors take a third to a tenth of AdamW's learning rate, and as many times its weight decay.

    Options:
        beta1: how much of the average of the gradient goes into a step, beside the gradient itself.
        beta2: how much of the average is kept in a step.

    State: one number a parameter.

    Raises:
        ValueError: a beta outside of [0, 1).

    Source: Chen et al. 2023, arXiv:2302.06675.
    """

    paper: ClassVar[str] = "Chen et al. 2023, arXiv:2302.06675"

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        *,
        lr: float = 3e-4,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.99,
    ) -> None:
        for name, beta in {"beta1": beta1, "beta2": beta2}.items():
            if not 0 <= beta < 1:
                raise ValueError(f"{name}={beta} should be at least 0 and less than 1")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "beta1": beta1, "beta2": beta2})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what the closure gives, which is called first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: Group) -> None:
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(gradient)
        average = state["average"]
        direction = average.lerp(gradient, 1 - group["beta1"]).sign_()
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
        average.lerp_(gradient, 1 - group["beta2"])
