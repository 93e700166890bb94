"""Truncated back-propagation through time: sequences in segments, with the states of mixers from one to the next.

A gradient ends where its segment begins. Memory for it is that of one segment, whatever the length of the sequences.

Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories".
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from zoo.contract import State
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.task import IGNORE
from zoo.train.evaluate import autocast
from zoo.train.settings import Settings


def losses_by_segment(
    model: Backbone, tokens: Tensor, targets: Tensor, segment: int, precision: str = "fp32"
) -> Iterator[Tensor]:
    """The cross-entropy of each segment that has a target, in nats, as a sum over its targets divided by all.

    Each depends on the parameters through its own segment alone, so that its graph may be freed before the next.

    Args:
        model: whose mixers carry states.
        tokens, targets: ``(b, t)``.
        segment: tokens of each; the last one may be shorter.
        precision: of the forward pass, ``"fp32"`` or ``"bf16"``.
    """
    count = (targets != IGNORE).sum().clamp(min=1)
    state: State | None = None
    for piece, wanted in zip(tokens.split(segment, dim=1), targets.split(segment, dim=1), strict=True):
        with autocast(tokens.device, precision):
            logits, state = model.step(piece, state)
        state = tree_map_only(Tensor, Tensor.detach, state)
        if (wanted != IGNORE).any():
            wide = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
            yield F.cross_entropy(wide, wanted.flatten(), ignore_index=IGNORE, reduction="sum") / count


def check_segments(model: Backbone, settings: Settings) -> None:
    """Refuse to train a model in segments that cannot be, or gains nothing by it.

    Raises:
        UsageError: segments that are not shorter than the sequences, a compiled model, documents apart from each other,
            an objective that is not causal, a readout, mixers with losses or metrics of their own, or with states that
            keep every read.
    """
    segment = settings.segment
    if segment is None:
        return
    if segment >= settings.context:
        raise UsageError(f"`segment`={segment} should be less than the {settings.context} tokens of a sequence")
    reason = _reason_of_settings(settings)
    if reason is None and model.readout is not None:
        reason = "the readout of this task looks at whole sequences"
    if reason is None:
        reason = _reason_of_mixers(model, segment, settings)
    if reason is not None:
        raise UsageError(f"`segment`={segment} cannot be: {reason}")


def _reason_of_settings(settings: Settings) -> str | None:
    if settings.compile is True:
        return "segments go through `step`, which is not compiled; leave out `compile`"
    if settings.documents == "separate":
        return "a state goes from one document to the next; take `documents`=joined"
    if not settings.text_objective.causal:
        return "the masked objective looks at whole sequences"
    return None


@torch.no_grad()
def _reason_of_mixers(model: Backbone, segment: int, settings: Settings) -> str | None:
    was_training = model.training
    model.eval()
    try:
        device = next(model.parameters()).device
        tokens = torch.zeros(1, settings.context, dtype=torch.int64, device=device)
        output = model(tokens)
        if output.losses or output.metrics:
            names = sorted({name.split(".")[1] for name in (*output.losses, *output.metrics)})
            return f"{', '.join(names)} has losses or metrics of its own, which only whole sequences give"
        _, before = model.step(tokens[:, :-segment])
        _, after = model.step(tokens[:, -segment:], before)
    finally:
        model.train(was_training)
    kept = (_numbers(after) - _numbers(before)) // segment
    if kept <= 0:
        return None
    megabytes = 4 * kept * settings.context * settings.batch / 1e6
    return (
        f"the state of this model keeps every token, {kept:,} numbers each: {megabytes:,.1f} MB in fp32 for a batch of "
        f"{settings.batch} sequences of {settings.context} tokens, which grows with them as what segments save does; "
        "choose mixers with a constant state, see `zoo list`"
    )


def _numbers(state: State) -> int:
    return sum(leaf.numel() for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
