"""What a training run would need: its parameters and its memory, measured without training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from zoo.data.source import Batch
from zoo.model.backbone import Backbone
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.plugin.registry import get_registry
from zoo.train.evaluate import autocast
from zoo.train.find_data import source_of
from zoo.train.machine import prepare_machine, resolve_auto
from zoo.train.optimizer import check_optimizer, state_bytes
from zoo.train.session import model_for
from zoo.train.settings import Settings


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they hold.

    Attributes:
        optimizer: its state, e.g. AdamW's averages of gradients; and the average of the weights, where there is one.
        activations: what the forward pass of a micro-batch keeps for the backward pass; less if compiled.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of them; the text, the kernels' own buffers and the evaluations come on top."""
        return self.parameters + self.gradients + self.optimizer + self.activations


@dataclass
class Activations:
    """Bytes that autograd keeps: inside each layer, outside of them, and of the stream that enters each."""

    outside: int = 0
    inside: list[int] = field(default_factory=list)
    entering: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """A run as it would be made.

    Attributes:
        settings: with ``auto`` replaced by what this machine has.
        parameters: all that are trained.
        active_parameters: those that one token uses; less in a mixture of experts.
    """

    settings: Settings
    parameters: int
    active_parameters: int
    memory: Memory


def make_plan(settings: Settings) -> Plan:
    """Build the model, run it on two sequences, and train nothing.

    Raises:
        ZooError: whatever would keep the run from starting.
    """
    settings = resolve_auto(settings)
    device = prepare_machine(settings)
    check_optimizer(settings)
    source = source_of(settings)
    batch = source.draw(context=settings.context, batch=2, seed=settings.seed, step=0)
    model = model_for(source, settings, get_registry()).to(device)
    size = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    state = state_bytes(model, settings) + (0 if settings.ema is None else size)
    memory = Memory(size, size, state, measure_activations(model, batch, settings))
    return Plan(settings, count_parameters(model), count_active_parameters(model), memory)


def measure_activations(model: Backbone, batch: Batch, settings: Settings) -> int:
    """The bytes that autograd keeps between the forward and the backward pass of one micro-batch.

    One and two sequences are run, and the rest is a straight line: what a sequence costs is counted for each, what
    the batch shares (masks, weights cast to bfloat16) once. With activation checkpointing it is what enters each
    layer, and the largest layer, which is computed again when its turn comes.

    Args:
        model: in training mode.
        batch: two sequences.
        settings: for the size of the batch, the precision, and whether activations are checkpointed.
    """
    one, two = (_saved_bytes(model, batch, count, settings) for count in (1, 2))
    return one + (two - one) * (settings.batch - 1)


def _saved_bytes(model: Backbone, batch: Batch, count: int, settings: Settings) -> int:
    kept = record_activations(model, batch, count, settings)
    if settings.activation_checkpointing:
        return kept.outside + sum(kept.entering) + max(kept.inside)
    return kept.outside + sum(kept.inside)


def record_activations(model: Backbone, batch: Batch, count: int, settings: Settings) -> Activations:
    """What autograd keeps of a forward pass of some sequences of a batch, without activation checkpointing."""
    device = next(model.parameters()).device
    inputs, targets = (tokens[:count].clone().to(device) for tokens in (batch.inputs, batch.targets))
    where = None if batch.where is None else batch.where[batch.where < inputs.numel()].to(device)
    with _recording(model) as kept, autocast(device, settings.precision):
        model(inputs, targets, where)
    return kept


@contextmanager
def _recording(model: Backbone) -> Iterator[Activations]:
    """Count each storage that is saved for the backward pass, once, at the place that saves it first."""
    record, in_layer, entered = Activations(), False, dict[tuple[int, int], int]()
    storages = [parameter.untyped_storage() for parameter in model.parameters()]
    seen = {storage._cdata: storage for storage in storages}  # kept alive, so that no address comes twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen[storage._cdata] = storage
            if in_layer:
                record.inside[-1] += storage.nbytes()
            else:
                record.outside += storage.nbytes()
        return tensor.detach()

    def enter(_layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal in_layer
        in_layer = True
        record.inside.append(0)
        # a stream may hold what entered earlier layers, e.g. their outputs: that is kept once
        places = {(leaf.untyped_storage()._cdata, leaf.storage_offset()): leaf for leaf in tree_leaves(args[0])}
        new = {place: leaf.nbytes for place, leaf in places.items() if place not in entered}
        entered.update(new)
        record.entering.append(sum(new.values()))

    def leave(*_: Any) -> None:
        nonlocal in_layer
        in_layer = False

    hooks = [layer.register_forward_pre_hook(enter) for layer in model.layers]
    hooks += [layer.register_forward_hook(leave) for layer in model.layers]
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield record
    finally:
        for hook in hooks:
            hook.remove()
