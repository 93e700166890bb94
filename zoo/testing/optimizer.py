"""One case that a law of optimizers looks at: an optimizer, and a module with a parameter of every kind to train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.testing.member import MemberCase
from zoo.train.parameter_groups import parameter_groups

WEIGHT_DECAY = 0.1

SHAPES: Mapping[str, tuple[int, ...]] = {
    "matrix": (6, 4),
    "wide": (3, 5),
    "row": (1, 4),
    "stack": (2, 4, 3),
    "spared": (4, 2),
    "vector": (5,),
    "scalar": (),
}
"""Of the parameters beside the embedding, by name."""


LR = 1e-2
"""A learning rate at which an optimizer moves parameters by much more than rounding."""

FIRST = range(3)
"""The steps that a law makes before it looks, so that every average has something in it."""


class OptimizerCase(MemberCase):
    """A case of an optimizer."""

    def create(self, groups: list[dict[str, Any]] | None = None) -> Optimizer:
        """A new one, on groups of parameters, or on those of a model of its own."""
        groups = parameter_groups(Parameters(self.seed), WEIGHT_DECAY) if groups is None else groups
        made = self.subject.create(self.options, params=groups, lr=LR, weight_decay=WEIGHT_DECAY)
        return cast(Optimizer, made)

    def begin(self, model: "Parameters | None" = None) -> "Training":
        """A new optimizer, on new parameters or on those that are given."""
        model = Parameters(self.seed) if model is None else model
        return Training(model, self.create(parameter_groups(model, WEIGHT_DECAY)), self.seed)

    def use(self) -> None:
        """Make some steps; fails where a parameter is then not finite."""
        training = self.begin()
        training.run(FIRST, lr=LR)
        if wrong := [name for name, value in training.values().items() if not value.isfinite().all()]:
            raise FloatingPointError(f"{wrong[0]} is not finite after {len(FIRST)} steps")


class Parameters(nn.Module):
    """A parameter of every kind that a model has, in float64, each number between one and two from zero."""

    no_decay = frozenset({"spared"})

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        for name, shape in SHAPES.items():
            setattr(self, name, nn.Parameter(torch.empty(shape)))
        self.double()
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            number = torch.rand(parameter.shape, generator=generator) * 2 - 1
            parameter.data.copy_(number + number.sign())


@dataclass(frozen=True)
class Training:
    """Parameters and the optimizer on them."""

    model: Parameters
    optimizer: Optimizer
    seed: int

    def run(self, numbers: range, *, lr: float | None = None, idle: Sequence[str] = ()) -> None:
        """Make steps, each with gradients that depend on its number alone.

        Args:
            numbers: of the steps.
            lr: of all groups; None leaves them.
            idle: parameters that get no gradient.
        """
        for number in numbers:
            generator = torch.Generator().manual_seed(1000 * self.seed + number)
            for name, parameter in self.model.named_parameters():
                gradient = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.grad = None if name in idle else gradient
            self.update(number, lr)

    def update(self, number: int, lr: float | None = None) -> None:
        """Make a step with the gradients that there are, seeded as a run seeds it."""
        for group in self.optimizer.param_groups if lr is not None else ():
            group["lr"] = lr
        torch.manual_seed(number)
        self.optimizer.step()

    def values(self) -> dict[str, Tensor]:
        """The parameters as they are now, by name."""
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def changed_since(self, before: Mapping[str, Tensor]) -> list[str]:
        """The names of the parameters that are not bit for bit what they were."""
        return [name for name, value in self.values().items() if not torch.equal(value, before[name])]
