"""Many ranks: those of torchrun, or of whatever else sets its environment variables."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.utils._pytree import tree_map_only

from zoo.errors import ElsewhereError, UsageError, ZooError
from zoo.train.engine.launch import is_launched
from zoo.train.engine.ranks import Ranks, unchanged
from zoo.train.settings import Settings

T = TypeVar("T")


class LostError(ZooError):
    """Another rank is gone, and this one cannot go on without it."""


class ProcessGroup(Ranks):
    """The ranks of torch's default process group.

    What they tell each other goes over a group of its own, through the memory of the CPUs, so that it never meets a
    collective operation of the training.
    """

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self.local_count = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        self._control = dist.new_group(backend="gloo")

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order; their tensors lie where those of this rank do."""
        device = next(iter(_devices(value)), torch.device("cpu"))
        gathered: list[Any] = [None] * self.count
        with self.watched():
            dist.all_gather_object(gathered, tree_map_only(Tensor, _owned, value), group=self._control)
        return cast(list[T], tree_map_only(Tensor, lambda tensor: tensor.to(device), gathered))

    def first(self, work: Callable[[], T], tell: Callable[[T], T] = unchanged) -> T:
        """What rank 0 gets from some work that it alone does; the others wait for it."""
        if not self.is_first:
            value, code = self._broadcast_object(None)
            if code is not None:
                raise ElsewhereError(code)
            return cast(T, value)
        try:
            value = work()
        except Exception as error:
            self._broadcast_object((None, exit_code(error)))
            raise
        self._broadcast_object((tell(value), None))
        return value

    @contextmanager
    def together(self) -> Iterator[None]:
        """Fail on all ranks where one does: the first of them with its own error."""
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        codes = self.gather(None if failure is None else exit_code(failure))
        failed = [rank for rank, code in enumerate(codes) if code is not None]
        if failure is not None and failed[0] == self.rank:
            raise failure
        if failed:
            raise ElsewhereError(cast(int, codes[failed[0]]))

    def broadcast(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Broadcast the tensors of rank 0, onto the CPU of each rank, one after the other."""
        shapes = self.first(lambda: {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()})
        for name, (shape, dtype) in shapes.items():
            tensor = tensors[name].cpu().contiguous() if self.is_first else torch.empty(shape, dtype=dtype)
            with self.watched():
                dist.broadcast(tensor, src=0, group=self._control)
            yield name, tensor

    def local_device(self, device: str) -> str:
        """The GPU of this rank among those of its node."""
        if device != "cuda":
            return device
        if self.local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"this is process {self.local_rank + 1} of a machine with {torch.cuda.device_count()} GPUs: start one "
                "for each, or train on `device`=cpu"
            )
        return f"cuda:{self.local_rank}"

    def check(self, settings: Settings) -> None:
        """Refuse settings with which these ranks cannot train."""
        if self.count > 1 and settings.engine == "single":
            raise UsageError(f"`engine`=single trains in one process, and there are {self.count}: leave out `engine`")
        if self.count > 1 and ":" in settings.device:
            device = settings.device.partition(":")[0]
            raise UsageError(f"`device`={settings.device} is one device for {self.count} processes: say {device}")
        if settings.accumulate % self.count:
            fitting = -(-settings.accumulate // self.count) * self.count
            raise UsageError(
                f"{self.count} processes cannot evenly share {settings.accumulate} micro-batches a step: use "
                f"`accumulate`={fitting}, with a `batch` below {settings.batch} if a step is to stay as large"
            )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tell in one line that another rank is gone."""
        try:
            yield
        except RuntimeError as error:
            # torch's own exception is for NCCL and the store; what gloo says is known by its text alone
            if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
                raise
            raise LostError(
                f"rank {self.rank} of {self.count} lost the connection to another one, which has stopped; every step "
                "up to the last checkpoint is saved, and the same command goes on from there with `continuing`"
            ) from error

    def _broadcast_object(self, said: tuple[Any, int | None] | None) -> tuple[Any, int | None]:
        box: list[Any] = [said]
        with self.watched():
            dist.broadcast_object_list(box, src=0, group=self._control)
        return cast(tuple[Any, int | None], box[0])


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks of which this process is one, as its environment says: itself alone, unless torchrun started it.

    Raises:
        LostError: the others do not answer.
    """
    if not is_launched():
        yield Ranks()
        return
    if (local_rank := int(os.environ.get("LOCAL_RANK", "0"))) < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    _initialize()
    try:
        yield ProcessGroup()
    finally:
        dist.destroy_process_group()


def _initialize() -> None:
    """Make torch's default process group.

    On one node torchrun may start the processes again with the store of those that have died, in which their addresses
    still stand: each start has keys of its own. On several nodes it makes a new store, and the nodes may have been
    started again different numbers of times.
    """
    try:
        store, rank, count = next(rendezvous("env://"))
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            store = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group(store=store, rank=rank, world_size=count)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise LostError(f"rank {os.environ['RANK']} cannot reach the other processes of the run: {reason}") from error


def exit_code(error: BaseException) -> int:
    """What a process that fails with it ends with."""
    return error.exit_code if isinstance(error, ZooError) else 1


def _owned(tensor: Tensor) -> Tensor:
    """A copy on the CPU, of nothing but what is to be sent."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _devices(value: Any) -> list[torch.device]:
    found: list[torch.device] = []
    tree_map_only(Tensor, lambda tensor: found.append(tensor.device), value)
    return found
