"""How well a model answers what it has not been trained on."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.backbone import Backbone
from zoo.data.source import IGNORE, Batch


@dataclass
class Score:
    """Sums over held-out positions, and what they come to.

    Attributes:
        nats: the cross-entropy of all positions with a target.
        targets: how many these are.
        right: the positions that are scored and answered right.
        scored: how many are scored.
        slices: ``[right, scored]`` by what is counted, and by its value.
    """

    nats: float = 0.0
    targets: int = 0
    right: int = 0
    scored: int = 0
    slices: defaultdict[str, defaultdict[int, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: [0, 0]))
    )

    @property
    def loss(self) -> float:
        """Nats per target; NaN if there is none."""
        return self.nats / self.targets if self.targets else float("nan")

    @property
    def accuracy(self) -> float:
        """The share of the scored positions at which the likeliest answer is the right one; NaN if none is scored."""
        return self.right / self.scored if self.scored else float("nan")

    def accuracies(self) -> dict[str, dict[str, float]]:
        """The same for each slice, by what is counted and by its value, in the order of the values."""
        return {
            name: {str(value): right / scored for value, (right, scored) in sorted(values.items())}
            for name, values in self.slices.items()
        }


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@torch.no_grad()
def evaluate(model: Backbone, batches: Iterable[Batch], *, precision: str) -> Score:
    """Measure a model; for a text each token is predicted from its own window.

    Args:
        model: is put back into the mode (training or not) in which it came.
        batches: what is held out.
        precision: ``"fp32"`` or ``"bf16"``.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    score = Score()
    for batch in batches:
        where = None if batch.where is None else batch.where.to(device)
        with autocast(device, precision):
            logits = model(batch.inputs.to(device), where=where).logits.flatten(0, -2).float()
        targets = batch.targets.flatten() if batch.where is None else batch.targets.flatten()[batch.where]
        _add(score, batch, logits, targets.to(device))
    model.train(was_training)
    return score


def _add(score: Score, batch: Batch, logits: Tensor, targets: Tensor) -> None:
    answered = targets != IGNORE
    score.nats += F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum").item()
    score.targets += int(answered.sum())
    right = (logits.argmax(-1) == targets).cpu()
    counted = answered.cpu() if batch.scored is None else _at(batch.scored, batch)
    score.right += int((right & counted).sum())
    score.scored += int(counted.sum())
    for name, values in batch.slices.items():
        _add_slice(score.slices[name], _at(values, batch)[counted], right[counted])


def _add_slice(totals: defaultdict[int, list[int]], values: Tensor, right: Tensor) -> None:
    for value in values.unique().tolist():
        here = values == value
        totals[value][0] += int(right[here].sum())
        totals[value][1] += int(here.sum())


def _at(values: Tensor, batch: Batch) -> Tensor:
    """What is told of each position, ``(b, t)``, at the positions that were answered."""
    return values.flatten() if batch.where is None else values.flatten()[batch.where]
