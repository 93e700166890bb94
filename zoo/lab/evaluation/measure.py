"""Scores by position, from which all figures of a text follow."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data.source import IGNORE, Batch
from zoo.model.backbone import Backbone
from zoo.train.evaluate import predict


@dataclass(frozen=True, eq=False)
class PositionScores:
    """Sums over windows of one length t, at each of their positions.

    Attributes:
        sums: nats, targets and correct predictions, ``(3, t)``, float64.
    """

    sums: Tensor

    @property
    def targets(self) -> int:
        """How many there are in all."""
        return int(self.sums[1].sum())

    @property
    def loss(self) -> float:
        """Nats per target; NaN if there is none."""
        return _ratio(self.sums[0].sum(), self.sums[1].sum())

    @property
    def accuracy(self) -> float:
        """The fraction of the targets that is predicted correctly; NaN if there is none."""
        return _ratio(self.sums[2].sum(), self.sums[1].sum())

    @property
    def losses(self) -> list[float]:
        """Nats per target at each position."""
        return (self.sums[0] / self.sums[1]).tolist()

    def last(self, count: int) -> "PositionScores":
        """Those of the last positions."""
        return PositionScores(self.sums[:, -count:])


@torch.no_grad()
def measure_windows(model: Backbone, batches: Iterable[Batch], *, precision: str) -> PositionScores:
    """The scores of a model, in evaluation mode, on windows of one length."""
    return PositionScores(torch.stack([_scores(model, batch, precision).sum(1) for batch in batches]).sum(0))


@torch.no_grad()
def measure_cut(
    model: Backbone, windows: Iterable[Batch], *, length: int, tokens: int, precision: str
) -> tuple[PositionScores, PositionScores]:
    """The scores of a model where long windows are cut into shorter ones, each of which is predicted by itself.

    So the targets are the same whatever the length, and what differs is how much the model sees before them. Where the
    length does not divide that of the windows, their first tokens are left out.

    Args:
        model: in evaluation mode.
        windows: long ones.
        length: of the shorter ones.
        tokens: about how many the model is given at a time; never less than one window.
        precision: ``"fp32"`` or ``"bf16"``.

    Returns:
        Those of all the short windows, and those of the last of each long window.
    """
    every, last = torch.zeros(3, length, dtype=torch.float64), torch.zeros(3, length, dtype=torch.float64)
    for window in windows:
        count = len(window.inputs)
        parts = [_scores(model, part, precision) for part in _parts(_cut(window, length), max(1, tokens // length))]
        scores = torch.cat(parts, dim=1)
        every += scores.sum(1)
        last += scores.unflatten(1, (count, -1))[:, :, -1].sum(1)
    return PositionScores(every), PositionScores(last)


def _scores(model: Backbone, batch: Batch, precision: str) -> Tensor:
    """Nats, targets and correct predictions at each position, ``(3, b, t)``, float64."""
    logits = predict(model, batch, precision)
    targets = batch.at_predictions(batch.targets).to(logits.device)
    nats = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
    columns = torch.stack([nats, targets != IGNORE, logits.argmax(-1) == targets]).cpu().double()
    scores = torch.zeros(3, batch.inputs.numel(), dtype=torch.float64)
    if batch.where is None:
        scores = columns
    else:
        scores[:, batch.where] = columns
    return scores.unflatten(1, batch.inputs.shape)


def _cut(window: Batch, length: int) -> Batch:
    """Windows, ``(b, t)``, as the shorter ones that end with them, ``(b * n, length)``."""
    count = window.inputs.shape[1] // length

    def cut(values: Tensor) -> Tensor:
        return values[:, -count * length :].reshape(-1, length)

    documents = None if window.documents is None else cut(window.documents)
    offsets = window.offsets.repeat_interleave(count)
    return Batch(cut(window.inputs), cut(window.targets), offsets, window.where, documents=documents)


def _parts(batch: Batch, rows: int) -> Iterator[Batch]:
    """The same sequences, so many at a time."""
    for start in range(0, len(batch.inputs), rows):
        inputs, targets = batch.inputs[start : start + rows], batch.targets[start : start + rows]
        where = None if batch.where is None else (targets != IGNORE).flatten().nonzero().squeeze(1)
        documents = None if batch.documents is None else batch.documents[start : start + rows]
        yield Batch(inputs, targets, batch.offsets[start : start + rows], where, documents=documents)


def _ratio(total: Tensor, count: Tensor) -> float:
    return float(total / count)
