"""What an evaluation found, as an object and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.data.source import Metric


@dataclass(frozen=True)
class LengthResult:
    """How well a text is predicted in windows of one length.

    Attributes:
        length: tokens of a window.
        loss, accuracy: over all positions.
        last_loss, last_accuracy: over the last positions of each longest window, `Evaluation.last` of them, which are
            the same targets at each length.
        losses: by position, ``(length,)``.
        targets: how many there are.
    """

    length: int
    loss: float
    accuracy: float
    last_loss: float
    last_accuracy: float
    losses: Sequence[float] = field(repr=False)
    targets: int


@dataclass(frozen=True)
class Evaluation:
    """How well a run predicts. NaN where there is no such figure.

    Attributes:
        run: its folder; `mixer` its pattern.
        step: how many updates the model has seen.
        data: the text or the task, with its checksum; `own` says whether it is what the run has learned, of which the
            validation part is measured.
        context: at which the run was trained.
        loss: in `unit`, at the length at which the run was trained, or that of another task.
        perplexity: e to the loss; of a text that is predicted token by token.
        bits_per_byte: likewise.
        accuracy: the fraction of the scored targets that is predicted correctly.
        targets: how many there are.
        losses: by position, as far as the longest length that was measured; empty for a task.
        lengths: of a text, at each length that was measured; empty where there is but the context.
        last: see `LengthResult`.
        accuracies: of a task, at each length, and by slice at the last; as in the summary of a run.
        guess_levels: what guessing gives there.
        notes: what was left out, a line each.
    """

    run: Path
    mixer: str
    step: int
    data: str
    data_sha256: str
    own: bool
    metric: Metric
    unit: str
    precision: str
    context: int
    loss: float
    perplexity: float
    bits_per_byte: float
    accuracy: float
    targets: int
    losses: Sequence[float] = field(default=(), repr=False)
    lengths: Sequence[LengthResult] = ()
    last: int = 0
    accuracies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    guess_levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    notes: Sequence[str] = ()


def as_table(evaluation: Evaluation) -> dict[str, Any]:
    """All figures of an evaluation, of JSON's types, by the names of `Evaluation`; losses by position to six digits."""
    table = asdict(evaluation) | {"run": str(evaluation.run), "losses": _rounded(evaluation.losses)}
    table["notes"] = list(evaluation.notes)
    table["lengths"] = [asdict(result) | {"losses": _rounded(result.losses)} for result in evaluation.lengths]
    return table


def _rounded(losses: Sequence[float]) -> list[float | None]:
    return [float(f"{loss:.6g}") if math.isfinite(loss) else None for loss in losses]
