"""One case that a law of optimizers looks at: an optimizer, and a module with a parameter of every kind to train."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.train.optimizer import create_optimizer
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


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer to be judged.

    Args:
        build: gives it from groups of parameters, a learning rate, and the weight decay of groups without one.
        seed: of the parameters and the gradients.
        lr: at which it moves parameters by much more than rounding.
        lrs: of which one solves a quadratic. What a learning rate means is for the optimizer to say.
    """

    build: Callable[[list[dict[str, Any]], float, float], Optimizer]
    seed: int = 0
    lr: float = 1e-2
    lrs: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)

    @classmethod
    def of(cls, optimizer: str | Callable[..., Optimizer], **options: Any) -> "OptimizerCase":
        """The case of a registered optimizer, with its options in parentheses, or of a class with options."""
        if isinstance(optimizer, str):
            return cls(lambda groups, lr, decay: create_optimizer(optimizer, groups, lr=lr, weight_decay=decay))
        return cls(lambda groups, lr, decay: optimizer(groups, lr=lr, weight_decay=decay, **options))

    def begin(self, model: "Parameters | None" = None) -> "Training":
        """A new optimizer, on new parameters or on those that are given."""
        model = Parameters(self.seed) if model is None else model
        groups = parameter_groups(model, WEIGHT_DECAY)
        return Training(model, self.build(groups, self.lr, WEIGHT_DECAY), self.seed)


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
