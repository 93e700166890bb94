"""Stochastic gradient descent with momentum."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from zoo.optimizers.groups import Group


class SGD(torch.optim.SGD):
    """Steps down the gradient, whose size they keep, with momentum.

        g = g + weight_decay p        m = momentum m + g
        p = p - lr m                  with nesterov=true  p = p - lr (g + momentum m)

    g: the gradient. It needs a learning rate of its own, often a hundred times that of the others.

    Options:
        momentum: how much of the sum of earlier gradients is kept in a step; 0 for plain gradient descent.
        nesterov: look one step ahead.

    State: one number a parameter, none without momentum.

    Raises:
        ValueError: a momentum outside of [0, 1), or nesterov without momentum.

    Source: Polyak 1964. Nesterov's form: Sutskever et al. 2013, ICML.
    """

    paper: ClassVar[str] = "Polyak 1964; Sutskever et al. 2013, ICML"

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        *,
        lr: float = 1e-1,
        weight_decay: float = 0.1,
        momentum: float = 0.9,
        nesterov: bool = False,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} should be at least 0 and less than 1")
        if nesterov and not momentum:
            raise ValueError("nesterov=True should have a momentum above 0")
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov)
