"""How well a model predicts what it has not been trained on."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice, zip_longest

import torch
import torch.nn.functional as F

from zoo.data.score import Score
from zoo.data.source import IGNORE, Batch
from zoo.model.backbone import Backbone
from zoo.train.engine.ranks import Ranks

__all__ = ["Score", "autocast", "evaluate", "predict"]


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@torch.no_grad()
def evaluate(
    model: Backbone,
    batches: Iterable[Batch],
    *,
    precision: str,
    by_sequence: bool = False,
    ranks: Ranks | None = None,
) -> Score:
    """Measure a model; for a text each token is predicted from its own window.

    Args:
        model: is put back into the mode (training or not) in which it came.
        batches: of the validation data.
        precision: ``"fp32"`` or ``"bf16"``.
        by_sequence: also keep what each sequence scored.
        ranks: share the batches out. All of them get the score of all batches, added up in their order.
    """
    ranks = ranks or Ranks()
    was_training = model.training
    model.eval()
    own = []
    for group in _in_groups(batches, ranks.count):
        # a model in parts is run by all ranks at once: those for which no batch is left run one that does not count
        measured = _measure(model, group[min(ranks.rank, len(group) - 1)], precision, by_sequence)
        if ranks.rank < len(group):
            own.append(measured)
    model.train(was_training)
    score = Score()
    for turn in zip_longest(*ranks.gather(own)):
        for measured in filter(None, turn):
            score.add(measured)
    return score


def predict(model: Backbone, batch: Batch, precision: str) -> torch.Tensor:
    """The logits at the n positions that are predicted at, ``(n, vocabulary)``, in float32 on the model's device."""
    device = next(model.parameters()).device
    where = None if batch.where is None else batch.where.to(device)
    with autocast(device, precision):
        output = model(batch.inputs.to(device), where=where, **batch.documents_for(device))
        return output.logits.flatten(0, -2).float()


def _measure(model: Backbone, batch: Batch, precision: str, by_sequence: bool) -> Score:
    logits = predict(model, batch, precision)
    targets = batch.at_predictions(batch.targets)
    on_device = targets.to(logits.device)
    score = Score(F.cross_entropy(logits, on_device, ignore_index=IGNORE, reduction="sum").item())
    predictions = logits.argmax(-1).cpu()
    score.add_predictions(batch, predictions, targets)
    if by_sequence:
        nats = F.cross_entropy(logits, on_device, ignore_index=IGNORE, reduction="none")
        score.add_sequences(batch, nats.cpu(), predictions, targets)
    return score


def _in_groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    remaining = iter(batches)
    while group := list(islice(remaining, size)):
        yield group
