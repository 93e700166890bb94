"""The law of a module that several processes hold in parts. It is asked by several processes at once."""

import copy
import warnings
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from zoo.contract import Mixed
from zoo.testing.case import Case
from zoo.testing.law import law
from zoo.testing.running import in_pieces, objective, other_reads, seeded, streams
from zoo.testing.violation import LawViolation, NotApplicable, apart, first_difference


@law(
    "sharded",
    bug="A weight that is read through `.data`, or that a plain list keeps: a process sees the part of it that it "
    "holds, and computes with that.",
    limit=5,
)
def sharded(case: Case) -> None:
    """Cut into parts over several processes (FSDP2), it writes what it writes in one, and has the same gradients."""
    if not any(parameter.requires_grad for parameter in case.mixer.parameters()):
        raise NotApplicable("it has no parameters")
    with warnings.catch_warnings():
        # of what a host does with the writes in place, which this one does not
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        problem = _problem(case)
    problems: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(problems, problem)
    for rank, text in enumerate(problems):
        if text is not None:
            raise LawViolation(f"{text} on process {rank} {case.where(case.reads)}")


def _problem(case: Case) -> str | None:
    """What this process sees that is not as it is alone."""
    rank, count = dist.get_rank(), dist.get_world_size()
    alone, parts = copy.deepcopy(case.mixer).train(), copy.deepcopy(case.mixer).train()
    cut = fully_shard(parts, mesh=_mesh(count))
    cut.set_gradient_divide_factor(1.0)
    cut.set_force_sum_reduction_for_comms(True)
    cut.set_reduce_scatter_unused_params(True)
    expected = [_learn(alone, case, number) for number in range(count)][rank]
    written = _learn(parts, case, rank)
    gradients = {name: _whole(value.grad) for name, value in parts.named_parameters() if value.grad is not None}
    if found := first_difference(written, expected):
        return f"write {found.time} is another one: {found}"
    for name, value in alone.named_parameters():
        if value.grad is None or not value.grad.isfinite().all():
            continue
        if name not in gradients:
            return f"no gradient reaches {name}"
        if difference := apart(gradients[name], value.grad):
            return f"the gradient of {name} is another one: |Δ| = {difference:.2g}"
    if streams(parts):
        register_fsdp_forward_method(parts, "step")
        with torch.no_grad():
            stepped, whole = (in_pieces(mixer.eval(), case.reads, case.pieces) for mixer in (parts, alone))
        if found := first_difference(stepped, whole):
            return f"write {found.time} of step is another one: {found}"
    return None


def _learn(mixer: torch.nn.Module, case: Case, number: int) -> Tensor:
    """The writes for the reads of one process; adds to the gradients."""
    reads = other_reads(case.reads, seed=number)
    with seeded(number):
        mixed = Mixed.of(mixer(reads), mixer)
        value = objective(mixed)
        if value.requires_grad:
            value.backward()
    return mixed.out.detach()


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@cache
def _mesh(count: int) -> DeviceMesh:
    return init_device_mesh("cpu", (count,))
