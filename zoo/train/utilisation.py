"""How much of what the machine can compute a run has used."""

import math
from contextlib import suppress

import torch

from zoo.train.evaluate import predict
from zoo.train.flops import count_flops
from zoo.train.peaks import peak_flops
from zoo.train.step import TrainingStep

LONG = 30.0
"""Seconds of training from which a run is worth the half second of the measurement."""


def utilisation(step: TrainingStep, *, steps: int, seconds: float) -> float:
    """The fraction of the machine's fastest matrix product that training has reached; NaN where it is not known.

    It is known of runs on a CPU or a CUDA device that trained for half a minute or longer, with a whole model in each
    process and sequences of one length. No parameter is changed.

    Args:
        step: of the run.
        steps: that were made.
        seconds: that they took.
    """
    supported = step.device.type in ("cpu", "cuda") and not step.engine.sharded and step.lengths is None
    if not supported or not steps or seconds < LONG:
        return math.nan
    with suppress(Exception):  # nothing is lost with this figure, e.g. where memory is too small for another batch
        reached = count_step_flops(step) * steps / seconds
        return reached / peak_flops(step.device, step.settings.precision, at_least=reached)
    return math.nan


def count_step_flops(step: TrainingStep) -> int:
    """Floating-point operations that a training step takes in each process.

    Those of a forward pass are counted, of the first batch; a backward pass takes twice as many, as is usually
    assumed. What activation checkpointing computes again does not count, nor does the optimizer.
    """
    settings, model = step.settings, step.model
    batch = step.source.draw(context=settings.context, batch=settings.batch, seed=settings.seed, step=0)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            forward = count_flops(lambda: predict(model, batch, settings.precision))
    finally:
        model.train(was_training)
    return 3 * forward * settings.accumulate // step.ranks.count
