"""AdamW."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from zoo.optimizers.groups import Group, as_groups, can_fuse


class AdamW(torch.optim.AdamW):
    """Adam with decoupled weight decay: steps of about one learning rate, whatever the size of the gradient.

        m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g**2
        p = p - lr ( m' / (sqrt(v') + eps) + weight_decay p )

    g: the gradient; m', v': both averages, divided by one minus their beta to the power of the step, which makes up
    for their start at zero.

    Options:
        beta1: how much of the average of the gradient is kept in a step.
        beta2: how much of the average of its square is kept in a step.
        eps: added to the divisor.

    State: two numbers a parameter.

    Raises:
        ValueError: a beta outside of [0, 1), or a negative eps.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    paper: ClassVar[str] = "Loshchilov & Hutter 2019, arXiv:1711.05101"

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        for name, beta in {"beta1": beta1, "beta2": beta2}.items():
            if not 0 <= beta < 1:
                raise ValueError(f"{name}={beta} should be at least 0 and less than 1")
        if eps < 0:
            raise ValueError(f"eps={eps} should be 0 or more")
        groups = as_groups(params)
        betas = (float(beta1), float(beta2))
        super().__init__(groups, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, fused=can_fuse(groups))
