"""Many processes train one model: each with a copy of it (DDP), or each with a part of it (FSDP2)."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from zoo.model.backbone import Backbone, ModelOutput
from zoo.model.shared import load_state_tensors, state_tensors
from zoo.train.average import EMA
from zoo.train.engine.engine import Engine
from zoo.train.engine.layers import layers_of_their_own
from zoo.train.optimizer import load_optimizer_tensors
from zoo.train.settings import Settings
from zoo.train.shards import load_shards


class _Distributed(Engine):
    """Gathers the state onto the CPU of rank 0, and spreads it from there."""

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
        """Copies that training does not change, gathered one after the other."""
        return {stem: dict(self._whole(named)) for stem, named in super().state(optimizer).items()}

    def load_state(self, tensors: Mapping[str, Mapping[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
        """Each rank keeps what it is to hold of the tensors, which it gets one after the other."""
        parameters = dict(self.model.named_parameters())
        like = {
            "model": lambda name: parameters.get(name),  # noqa: PLW0108 - of an overloaded type
            "optimizer": lambda name: parameters[name.rsplit("|", 1)[0]],
        }
        like |= {} if self.average is None else {EMA: like["model"]}
        spread = {stem: dict(self._parts(tensors.get(stem, {}), find)) for stem, find in like.items()}
        super().load_state(spread, optimizer)

    def _whole(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        for name, value in tensors.items():
            gathered = value.full_tensor() if isinstance(value, DTensor) else value
            if self.ranks.is_first:
                yield name, gathered.detach().to("cpu", copy=True)

    def _parts(
        self, tensors: Mapping[str, Tensor], find: Callable[[str], Tensor | None]
    ) -> Iterator[tuple[str, Tensor]]:
        for name, whole in self.ranks.broadcast(tensors):
            yield name, _part(whole, find(name))


class Replicated(_Distributed):
    """Each rank has the whole model (DDP). Two ranks train bit for bit as one process with the same micro-batches."""

    def accumulating(self, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are added up over the ranks with the last micro-batch."""
        return nullcontext() if last else self._ddp.no_sync()

    def _wrap(self) -> Callable[..., ModelOutput]:
        _compile_layers(self.model, self.settings)
        device = next(self.model.parameters()).device
        self._ddp = DistributedDataParallel(
            self.model,
            device_ids=None if device.type == "cpu" else [device],
            forward_sync_buffers=False,  # they are made equal by equal metrics, which is checked
            gradient_as_bucket_view=True,
            find_unused_parameters=True,  # an expert may get no token
        )
        self._ddp.register_comm_hook(None, _add_up)
        warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
        return self._ddp


class Sharded(_Distributed):
    """Each rank has a part of every parameter, of its gradient and of the optimizer's state (FSDP2)."""

    sharded = True

    def accumulating(self, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are added up over the ranks with the last micro-batch."""
        self._fsdp.set_requires_gradient_sync(last)
        return nullcontext()

    def clip_gradients(self, parameters: Sequence[nn.Parameter]) -> float:
        """The norm is that of all parts together."""
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        return (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
        """Copies on the CPU of rank 0; the ranks hold their parts alone before and after."""
        self._fsdp.reshard()  # a forward pass without a backward one, as in an evaluation, leaves the root whole
        return super().state(optimizer)

    @property
    def saves_shards(self) -> bool:  # type: ignore[override]
        """Whether each rank writes its own part of a checkpoint."""
        return self.settings.checkpoints == "sharded"

    def parts(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
        """What this rank holds of what a checkpoint holds."""
        self._fsdp.reshard()
        return Engine.state(self, optimizer)

    def load_parts(self, path: Path, optimizer: torch.optim.Optimizer) -> None:
        """Put back what any number of ranks wrote, each rank its own part."""
        model, parameters = state_tensors(self.model), dict(self.model.named_parameters())

        def find(stem: str, name: str, shape: tuple[int, ...]) -> Tensor | None:
            if stem == "model":
                return model[name]
            parameter = parameters[name if stem == EMA else name.rpartition("|")[0]]
            return torch.zeros_like(parameter) if tuple(parameter.shape) == shape else None

        loaded = load_shards(path, find, alone=False)
        load_state_tensors(self.model, loaded["model"])
        load_optimizer_tensors(self.model, optimizer, loaded.get("optimizer", {}))
        if self.average is not None:
            self.average.load(loaded.get(EMA, {}))

    def _wrap(self) -> Callable[..., ModelOutput]:
        model = self.model
        _compile_layers(model, self.settings)
        mesh = init_device_mesh(next(model.parameters()).device.type, (self.ranks.count,))
        for layer in layers_of_their_own(model):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        for module in (model, *model.each_layer()):
            if isinstance(module, FSDPModule):
                register_fsdp_forward_method(cast(nn.Module, module), "step")
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
                module.set_reduce_scatter_unused_params(True, recurse=False)  # an expert may get no token
        self._fsdp = cast(FSDPModule, model)
        # no scheme changes the stream in place: the host adds a write to a copy
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        return model


def _compile_layers(model: Backbone, settings: Settings) -> None:
    """Compiling a whole model that is wrapped ends in mismatched collective operations; a layer has none."""
    if settings.compile is True:
        torch.compiler.reset()
        for layer in model.layers:
            layer.compile()


def _add_up(_state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """Gradients are summed and not averaged: the weights of the micro-batches' losses add up to one over all ranks."""
    summed = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return cast(torch.futures.Future[Tensor], summed.then(lambda done: done.value()[0]))


def _part(whole: Tensor, like: Tensor | None) -> Tensor:
    if like is None:
        return whole
    if not isinstance(like, DTensor) or like.shape != whole.shape:
        return whole.to(like.device)
    # without a source each rank cuts its own part out of what it has, and nothing is sent
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
