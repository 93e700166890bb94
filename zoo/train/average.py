"""An average of the weights over the steps of a run, which often predicts better than the last ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

EMA = "ema"
"""The stem of its tensors in a checkpoint."""


class Average:
    """An exponential moving average of the parameters that are trained.

        average = d * average + (1 - d) * weights          d = min(decay, (1 + step) / (10 + step))

    The average begins as the first weights, and remembers little of them: the decay grows to its value over the first
    steps. Buffers are not averaged: an evaluation takes those that the model has.

    Args:
        model: in training, with the parameters that its engine has made of them.
        decay: how much of the average a step leaves.

    Source: Polyak and Juditsky 1992; the growing decay is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
        with torch.no_grad():
            self.tensors = {name: value.detach().clone() for name, value in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after so many steps."""
        lerp = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))
        lerp([*self.tensors.values()], [*self._weights.values()], step)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` was.

        Raises:
            RuntimeError: names or shapes that are not those of the model.
        """
        if tensors.keys() != self.tensors.keys():
            raise RuntimeError(f"of the average of the weights: {sorted(tensors.keys() ^ self.tensors.keys())[0]}")
        for name, value in tensors.items():
            self.tensors[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average in the place of its weights."""
        with torch.no_grad():
            kept = {name: value.detach().clone() for name, value in self._weights.items()}
            self._put(self.tensors)
        try:
            yield
        finally:
            with torch.no_grad():
                self._put(kept)

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, value in self._weights.items():
            value.copy_(tensors[name])


def with_average(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a model from those of a checkpoint, with the average in the place of the weights.

    Raises:
        KeyError: the run kept no average.
    """
    return {**tensors["model"], **tensors[EMA]}
