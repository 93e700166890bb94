"""What a model costs, measured on tensors without memory: a model of any size is built and run in no space."""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.data.source import Batch
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.plugin.isolation import random_numbers_kept
from zoo.plugin.registry import get_registry
from zoo.train.engine.layers import layers_of_their_own
from zoo.train.evaluate import autocast
from zoo.train.flops import count_flops
from zoo.train.optimizer import state_bytes
from zoo.train.plan import Activations, record_activations
from zoo.train.session import model_of
from zoo.train.settings import Settings

SHORT = 256
"""Tokens of the sequences on which a model is tried first."""

PATIENCE = 20.0
"""Seconds for a measurement. A recurrence that would take longer is measured on short sequences, and drawn on."""


@dataclass(frozen=True)
class Costs:
    """Of a model, for sequences of one length.

    Attributes:
        parameters: all that are trained.
        active_parameters: those that one token uses; less in a mixture of experts.
        layer_parameters: of the largest layer, which FSDP2 gathers at a time.
        outside_parameters: of no single layer: the embedding, the norms of the stream, what several layers share.
        optimizer: bytes of the optimizer's state.
        forward_flops: floating-point operations of a forward pass per token.
        training_flops: likewise of forward and backward.
        activations: bytes that the backward pass needs, whatever the number of sequences: masks, weights in bfloat16.
        sequence_activations: bytes more a sequence.
        checkpointed: likewise with activation checkpointing, of what enters the layers and lies outside of them.
        sequence_checkpointed: bytes more a sequence.
        layer: likewise of the largest layer, which is there by itself when it is computed again.
        sequence_layer: bytes more a sequence.
        logits: bytes a sequence with which the backward pass begins: the gradients of the loss by token, by logit, and
            by logit in the precision of the model.
    """

    parameters: float
    active_parameters: float
    layer_parameters: float
    outside_parameters: float
    optimizer: float
    forward_flops: float
    training_flops: float
    activations: float
    sequence_activations: float
    checkpointed: float
    sequence_checkpointed: float
    layer: float
    sequence_layer: float
    logits: float


def measure_costs(settings: Settings, vocab_size: int) -> Costs:
    """Measure the model of some settings, whatever its size.

    Each layer of a pattern costs the same in each of its rounds: two depths are measured, and the rest is a straight
    line.

    Args:
        settings: with a number of layers.
        vocab_size: how many tokens there are.

    Raises:
        UsageError: a model that cannot be built.
        PluginError: the plugin of a part is broken or missing, or the part cannot be run without looking at numbers.
    """
    layers, period = settings.layers, len(settings.pattern.layers())
    assert layers is not None
    first = period + layers % period
    if layers <= first + period:
        return _at_length(settings, vocab_size)
    fewer, more = (
        _at_length(settings.model_copy(update={"layers": first + extra}), vocab_size) for extra in (0, period)
    )
    return _line(fewer, more, (layers - first) / period)


def _at_length(settings: Settings, vocab_size: int) -> Costs:
    short = min(SHORT, settings.context)
    begin = time.monotonic()
    costs = _measure(settings, vocab_size, short)
    if short == settings.context:
        return costs
    if (time.monotonic() - begin) * settings.context / short < PATIENCE:
        return _measure(settings, vocab_size, settings.context)
    longer = [_measure(settings, vocab_size, times * short) for times in (2, 3)]
    return _drawn_on([costs, *longer], settings.context, short)


def _drawn_on(costs: Sequence[Costs], length: int, short: int) -> Costs:
    """The costs at a length, from those at one, two and three times a short one, as a polynomial of second degree."""
    totals = [np.array(astuple(_of_a_sequence(of, times * short))) for times, of in enumerate(costs, start=1)]
    x = length / short
    weights = (x - 2) * (x - 3) / 2, -(x - 1) * (x - 3), (x - 1) * (x - 2) / 2
    drawn = np.array(weights) @ np.stack(totals)
    return _of_a_sequence(Costs(*drawn.tolist()), 1 / length)


def _of_a_sequence(costs: Costs, length: float) -> Costs:
    """The same with the operations of so many tokens in place of those of one."""
    flops = {name: length * getattr(costs, name) for name in ("forward_flops", "training_flops")}
    return replace(costs, **flops)


def _line(at_zero: Costs, at_one: Costs, place: float) -> Costs:
    pairs = zip(astuple(at_zero), astuple(at_one), strict=True)
    return Costs(*(zero + place * (one - zero) for zero, one in pairs))


def _measure(settings: Settings, vocab_size: int, length: int) -> Costs:
    with random_numbers_kept(), FakeTensorMode():
        model = model_of(settings, get_registry(), vocab_size=vocab_size)
        if model.max_length is not None and length > model.max_length:
            raise UsageError(f"`context`={length} is longer than the {model.max_length} tokens that the model takes")
        tokens = torch.zeros(2, length, dtype=torch.int64)
        layers = [count_parameters(layer) for layer in layers_of_their_own(model)]
        parameters = count_parameters(model)
        return Costs(
            parameters=parameters,
            active_parameters=count_active_parameters(model),
            layer_parameters=max(layers, default=0),
            outside_parameters=parameters - sum(layers),
            optimizer=state_bytes(model, settings),
            forward_flops=_forward_flops(model, tokens[:1], settings) / length,
            training_flops=_training_flops(model, tokens[:1], settings) / length,
            logits=length * vocab_size * (10 if settings.precision == "bf16" else 12),
            **_activations(model, tokens, settings),
        )


def _activations(model: Backbone, tokens: torch.Tensor, settings: Settings) -> dict[str, float]:
    """Bytes of no sequence and of each: of everything, of what is kept with checkpointing, of the largest layer."""
    batch = Batch(tokens, tokens, torch.zeros(2, dtype=torch.int64))
    one, two = (record_activations(model.train(), batch, count, settings) for count in (1, 2))
    measures = {"activations": _everything, "checkpointed": _checkpointed, "layer": _largest_layer}
    found: dict[str, float] = {}
    for name, measure in measures.items():
        of_each = measure(two) - measure(one)
        found |= {name: measure(one) - of_each, f"sequence_{name}": of_each}
    return found


def _everything(kept: Activations) -> int:
    return kept.outside + sum(kept.inside)


def _checkpointed(kept: Activations) -> int:
    return kept.outside + sum(kept.entering)


def _largest_layer(kept: Activations) -> int:
    return max(kept.inside)


def _forward_flops(model: Backbone, tokens: torch.Tensor, settings: Settings) -> int:
    def run() -> None:
        with torch.no_grad(), autocast(torch.device("cpu"), settings.precision):
            model(tokens)

    model.eval()
    return count_flops(run)


def _training_flops(model: Backbone, tokens: torch.Tensor, settings: Settings) -> int:
    def run() -> None:
        with autocast(torch.device("cpu"), settings.precision):
            loss = model(tokens, tokens).loss
        loss.backward()

    model.train()
    return count_flops(run)
