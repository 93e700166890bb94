"""How many predictions were correct, and at what loss: in all, for each slice, and for each sequence."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.data.source import IGNORE, Batch


@dataclass
class Score:
    """Sums over validation positions, and the means that they give.

    Attributes:
        nats: the cross-entropy of all positions with a target.
        targets: how many these are.
        correct: the positions that are scored and predicted correctly.
        scored: how many are scored.
        slices: ``[correct, scored]`` by what is counted, and by its value.
        sequences: nats, targets, correct and scored of each sequence by itself, ``(b, 4)`` a batch; filled only where
            it is asked for.
    """

    nats: float = 0.0
    targets: int = 0
    correct: int = 0
    scored: int = 0
    slices: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    sequences: list[Tensor] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Nats per target; NaN if there is none."""
        return self.nats / self.targets if self.targets else float("nan")

    @property
    def accuracy(self) -> float:
        """The fraction of scored positions at which the likeliest answer is correct; NaN if none is scored."""
        return self.correct / self.scored if self.scored else float("nan")

    def accuracies(self) -> dict[str, dict[str, float]]:
        """The same for each slice, by what is counted and by its value, in the order of the values."""
        return {
            name: {str(value): correct / scored for value, (correct, scored) in sorted(values.items())}
            for name, values in self.slices.items()
        }

    def add(self, other: "Score") -> None:
        """Add what was measured on other sequences, which come after these."""
        self.nats += other.nats
        self.targets += other.targets
        self.correct += other.correct
        self.scored += other.scored
        for name, values in other.slices.items():
            totals = self.slices.setdefault(name, {})
            for value, counts in values.items():
                totals[value] = [old + new for old, new in zip(totals.get(value, (0, 0)), counts, strict=True)]
        self.sequences += other.sequences

    def add_predictions(self, batch: Batch, predictions: Tensor, targets: Tensor) -> None:
        """Count the correct predictions, all together and for each slice.

        Args:
            batch: what was asked, with n positions that are predicted at.
            predictions: tokens, ``(n,)``.
            targets: likewise, `IGNORE` where there is none.
        """
        self.targets += int((targets != IGNORE).sum())
        correct, counted = batch.are_correct(predictions, targets), _counted(batch, targets)
        self.correct += int((correct & counted).sum())
        self.scored += int(counted.sum())
        for name, values in batch.slices.items():
            _add_slice(self.slices.setdefault(name, {}), batch.at_predictions(values)[counted], correct[counted])

    def add_sequences(self, batch: Batch, nats: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Keep what each sequence scored.

        Args:
            batch, predictions, targets: as in `add_predictions`.
            nats: the cross-entropy of each prediction, ``(n,)``.
        """
        counted = _counted(batch, targets)
        columns = (nats, targets != IGNORE, batch.are_correct(predictions, targets) & counted, counted)
        at_predictions = torch.stack([column.double() for column in columns], dim=1)
        rows, time = batch.inputs.shape
        sequence = batch.at_predictions(torch.arange(rows).repeat_interleave(time))
        sums = torch.zeros(rows, len(columns), dtype=torch.float64)
        self.sequences.append(sums.index_add_(0, sequence, at_predictions))


def _counted(batch: Batch, targets: Tensor) -> Tensor:
    """The predictions that count for the accuracy, ``(n,)``."""
    return targets != IGNORE if batch.scored is None else batch.at_predictions(batch.scored)


def _add_slice(totals: dict[int, list[int]], values: Tensor, correct: Tensor) -> None:
    for value in values.unique().tolist():
        here = values == value
        counts = totals.setdefault(value, [0, 0])
        counts[0] += int(correct[here].sum())
        counts[1] += int(here.sum())
