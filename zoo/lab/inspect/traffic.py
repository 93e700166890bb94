"""What each part writes to the stream, and what the mixers tell of themselves, averaged over data."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.data.source import IGNORE, Batch
from zoo.model.backbone import Backbone
from zoo.model.watch import StreamLog, watch_stream


@dataclass(frozen=True, eq=False)
class WriteSizes:
    """How much each part adds to the stream.

    Attributes:
        mean: norm of the write as it was added, over the norm of the stream that it was added to; the mean over
            tokens, a number a part.
        by_position: the same as a mean over sequences, ``(parts, t)``; NaN where no sequence reaches.
        metrics: the means over batches of what the mixers said in `Mixed.metrics`, by ``layer.label.name``.
        reads: what each part read in the first batch, ``(b, t, d)``.
    """

    mean: Tensor
    by_position: Tensor
    metrics: dict[str, Tensor]
    reads: list[Tensor]


@torch.no_grad()
def measure_writes(model: Backbone, batches: Iterable[Batch]) -> WriteSizes:
    """Watch the stream while the model reads the batches.

    Positions behind the last target of a sequence, where nothing is scored any more, do not count.

    Args:
        model: in evaluation mode.
        batches: all of one length t; one at least.
    """
    sizes, tokens, metrics = [], [], _Means()
    reads: list[Tensor] = []
    device = next(model.parameters()).device
    for batch in batches:
        inputs, targets = batch.inputs, batch.targets
        with watch_stream(model) as log:
            output = model(inputs.to(device), **batch.documents_for(device))
        counted = _counted(targets.to(device))
        each = torch.stack(write_sizes(log)).masked_fill(~counted, 0)
        sizes.append(each.double().sum(1).cpu())
        tokens.append(counted.sum(0).cpu())
        metrics.add(output.metrics, len(inputs))
        reads = reads or [traffic.read for traffic in log.traffic]
    total, count = torch.stack(sizes).sum(0), torch.stack(tokens).sum(0)
    return WriteSizes(total.sum(1) / count.sum(), total / count, metrics.means(), reads)


def write_sizes(log: StreamLog) -> list[Tensor]:
    """Norm of each write as it was added, over the norm of the stream that it was added to: ``(b, t)`` a part."""
    return [traffic.norms["write"] / traffic.norms["stream"] for traffic in log.traffic]


def _counted(targets: Tensor) -> Tensor:
    """Which positions come before a target or have one: ``(b, t)`` to the same, boolean."""
    return (targets != IGNORE).flip(1).cumsum(1).flip(1) > 0


class _Means:
    """Means of named tensors over batches, weighed by their rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.values: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, values: Mapping[str, Tensor], rows: int) -> None:
        """Note what one batch said."""
        self.rows.append(rows)
        for name, value in values.items():
            self.values[name].append(torch.as_tensor(value).detach().double().cpu())

    def means(self) -> dict[str, Tensor]:
        """The means of what every batch said in one shape."""
        weights = torch.tensor(self.rows, dtype=torch.float64)
        weights /= weights.sum()
        return {
            name: torch.einsum("n,n...->...", weights, torch.stack(values))
            for name, values in self.values.items()
            if len(values) == len(weights) and len({value.shape for value in values}) == 1
        }
