"""What mixers measured of themselves several times, as one measurement."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def combine_metrics(metrics: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What mixers measured in a step, from what they measured in its micro-batches or at their places, by name.

    Whole numbers are counts, and are added up, exactly. Everything else is averaged, in float32 at least.
    """
    gathered: dict[str, list[Tensor]] = defaultdict(list)
    for measured in metrics:
        for name, value in measured.items():
            gathered[name].append(torch.as_tensor(value))
    return {name: _combined(torch.stack(values)) for name, values in gathered.items()}


def _combined(values: Tensor) -> Tensor:
    """The first axis, one entry a measurement, added up or averaged."""
    is_count = not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)
    return values.sum(0) if is_count else values.to(torch.promote_types(values.dtype, torch.float32)).mean(0)
