"""How well a model predicts what it has not been trained on."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F

from zoo.data.score import Score
from zoo.data.source import IGNORE, Batch
from zoo.model.backbone import Backbone

__all__ = ["Score", "autocast", "evaluate"]


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@torch.no_grad()
def evaluate(model: Backbone, batches: Iterable[Batch], *, precision: str, by_sequence: bool = False) -> Score:
    """Measure a model; for a text each token is predicted from its own window.

    Args:
        model: is put back into the mode (training or not) in which it came.
        batches: of the validation data.
        precision: ``"fp32"`` or ``"bf16"``.
        by_sequence: also keep what each sequence scored.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    score = Score()
    for batch in batches:
        where = None if batch.where is None else batch.where.to(device)
        with autocast(device, precision):
            output = model(batch.inputs.to(device), where=where, **batch.documents_for(device))
            logits = output.logits.flatten(0, -2).float()
        targets = batch.at_predictions(batch.targets)
        score.nats += F.cross_entropy(logits, targets.to(device), ignore_index=IGNORE, reduction="sum").item()
        predictions = logits.argmax(-1).cpu()
        score.add_predictions(batch, predictions, targets)
        if by_sequence:
            nats = F.cross_entropy(logits, targets.to(device), ignore_index=IGNORE, reduction="none")
            score.add_sequences(batch, nats.cpu(), predictions, targets)
    model.train(was_training)
    return score
