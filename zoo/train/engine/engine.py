"""How a training step is made of micro-batches, by one process; the base of those that share them out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.model.backbone import Backbone, ModelOutput
from zoo.model.shared import load_state_tensors, state_tensors
from zoo.train.average import EMA, Average
from zoo.train.engine.ranks import Ranks
from zoo.train.optimizer import load_optimizer_tensors, optimizer_tensors
from zoo.train.settings import Settings
from zoo.train.shards import load_shards
from zoo.train.verify import fitting


class Engine:
    """Trains a model in one process.

    Args:
        model: in training mode, on its device. It may be changed: its parameters are those to optimise from then on.
        settings: without ``auto``.
        ranks: the processes that train it.

    Attributes:
        forward: of the model, to be called by each rank with micro-batches of its own.
        saves_shards: whether each rank writes its own part of a checkpoint.
        sharded: whether a rank holds only a part of the model, so that all of them must take part in what it does.
        average: of the weights, where the settings ask for one.
    """

    sharded = False
    saves_shards = False

    def __init__(self, model: Backbone, settings: Settings, ranks: Ranks | None = None) -> None:
        self.model, self.settings, self.ranks = model, settings, ranks or Ranks()
        self.forward: Callable[..., ModelOutput] = self._wrap()
        self.average = None if settings.ema is None else Average(model, settings.ema)

    @property
    def own_share(self) -> slice:
        """Which micro-batches of a step are those of this rank."""
        size = self.settings.accumulate // self.ranks.count
        return slice(self.ranks.rank * size, (self.ranks.rank + 1) * size)

    def accumulating(self, *, last: bool) -> AbstractContextManager[object]:  # noqa: ARG002 - for those that share
        """The context of the forward and the backward pass of a micro-batch, and whether it is the last of its rank."""
        return nullcontext()

    def clip_gradients(self, parameters: Sequence[nn.Parameter]) -> float:
        """Scale the gradient down to the largest norm that the settings allow; returns the norm that it had."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not (length := norm.item()) <= self.settings.clip:  # a pass over all gradients that most steps do without
            torch.nn.utils.clip_grads_with_norm_(parameters, self.settings.clip, norm)
        return length

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds: named tensors in full on rank 0, none on the others.

        They are of ``model``, ``optimizer`` and, where there is an average, ``ema``.
        """
        average = {} if self.average is None else {EMA: self.average.tensors}
        return {"model": state_tensors(self.model), "optimizer": optimizer_tensors(self.model, optimizer), **average}

    def load_state(self, tensors: Mapping[str, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
        """Put back what `state` gave on rank 0, of however many ranks it was then; the others' is not looked at."""
        with fitting():
            load_state_tensors(self.model, tensors["model"])
            load_optimizer_tensors(self.model, optimizer, tensors["optimizer"])
            if self.average is not None:
                self.average.load(tensors.get(EMA, {}))

    def parts(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
        """What this rank holds of `state`."""
        return self.state(optimizer)

    def load_parts(self, path: Path, optimizer: torch.optim.Optimizer) -> None:
        """Put back what any number of ranks wrote in parts."""
        self.load_state(load_shards(path), optimizer)

    def _wrap(self) -> Callable[..., ModelOutput]:
        if self.settings.compile is not True:
            return self.model
        # torch keeps what it compiled for earlier models of this process, and after eight gives up without an error
        torch.compiler.reset()
        return torch.compile(self.model)


def make_engine(model: Backbone, settings: Settings, ranks: Ranks) -> Engine:
    """The engine that the settings ask for, of these ranks; one process needs none in particular."""
    if ranks.count == 1:
        return Engine(model, settings, ranks)
    from zoo.train.engine.distributed import Replicated, Sharded  # half a second, for which one process does not wait

    return (Sharded if settings.engine == "fsdp" else Replicated)(model, settings, ranks)
