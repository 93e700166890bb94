"""The whole inspection of a run, from its folder to numbers and panels."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from zoo.data.source import Batch
from zoo.errors import UsageError
from zoo.lab.inspect.ablation import switched_off
from zoo.lab.inspect.heldout import held_out
from zoo.lab.inspect.offers import Failed, Shown, panels_offered
from zoo.lab.inspect.traffic import Shares, measure_shares
from zoo.model.backbone import Backbone
from zoo.model.faults import explaining
from zoo.model.parts import Part, parts_of
from zoo.model.watch import watch_stream
from zoo.panel import Panel
from zoo.run import Run
from zoo.train.evaluate import Score, evaluate
from zoo.train.not_finite import explain_writes

FEW_LINES = 6
"""Up to so many parts are drawn as lines, more as a map."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What an inspection found.

    Attributes:
        step: how many updates the model has seen.
        whole: how well the whole model predicts.
        parts: the parts of the model, in the order in which they write.
        without: how well it predicts when one part is switched off, a score a part.
        shares: what the parts write.
        unit: of the losses.
        shown: the panels, those of the whole model first, and the mixers whose panels failed.
        warnings: what makes the figures worthless, in a line each.
    """

    run: Path
    step: int
    whole: Score
    parts: Sequence[Part]
    without: Sequence[Score]
    shares: Shares
    unit: str
    shown: Sequence[Shown | Failed]
    warnings: Sequence[str] = ()

    @property
    def failures(self) -> list[Failed]:
        """The mixers whose panels failed."""
        return [item for item in self.shown if isinstance(item, Failed)]


def inspect_run(
    run: Run, *, tokens: int = 16384, data: str | None = None, progress: Callable[[str], None] | None = None
) -> Inspection:
    """Measure what each part of a trained model writes, and what the model loses without it.

    Args:
        run: its model in evaluation mode.
        tokens: about how many of the held-out ones to measure on.
        data: where the run's text lies now; None looks where it was typed and where it lay.
        progress: hears what is being done.

    Raises:
        UsageError: less than one token, or data that cannot be had.
    """
    if tokens < 1:
        raise UsageError(f"--tokens {tokens} should be 1 or more")
    batches, parts = list(held_out(run, tokens, data)), parts_of(run.model)
    if not parts:
        raise UsageError(f"{run.path}: the model has no part that writes to its stream, so there is nothing to inspect")
    told = progress or (lambda _text: None)
    told("measuring what the parts write")
    with explaining():
        shares, whole = measure_shares(run.model, batches), evaluate(run.model, batches, precision="fp32")
    without = []
    for number, part in enumerate(parts, start=1):
        told(f"measuring the loss without {part.name} ({number} of {len(parts)})")
        with explaining(), switched_off(run.model, part):
            without.append(evaluate(run.model, batches, precision="fp32"))
    told("drawing")
    unit = "nats per token" if run.tokenizer is not None else "nats per answer"
    shown = itertools.chain(
        _overview(parts, shares, whole, without, unit),
        _metric_panels(parts, shares),
        panels_offered(parts, shares.reads),
    )
    warnings = [] if math.isfinite(whole.loss) else [_why_not_finite(run.model, batches)]
    return Inspection(run.path, run.step, whole, parts, without, shares, unit, list(shown), warnings)


@torch.no_grad()
def _why_not_finite(model: Backbone, batches: Sequence[Batch]) -> str:
    device = next(model.parameters()).device
    for batch in batches:
        with watch_stream(model) as log:
            model(batch.inputs.to(device), **batch.documents_for(device))
        if cause := explain_writes(model, log):
            return f"the held-out loss is not finite. {cause.text}"
    return "the held-out loss is not finite, although every part writes finite numbers"


def _overview(
    parts: Sequence[Part], shares: Shares, whole: Score, without: Sequence[Score], unit: str
) -> Iterator[Shown]:
    names = [part.name for part in parts]
    reading = "How large what a part writes is beside the stream that it is added to; the mean over tokens."
    quantity = "norm of the write / norm of the stream"
    yield Shown(Panel("size of the writes", reading, shares.mean, quantity, ("part",), (names,)))
    reading = "Where in a sequence a part writes more or less than its mean: 0 is the mean, 1 twice it, -1 half."
    yield Shown(
        Panel(
            "size of the writes by position",
            reading,
            (shares.by_position / shares.mean[:, None]).log2(),
            "log2 (size / mean size of the part)",
            axes=("part", "position (token)"),
            ticks=(names, ()),
            lines=len(parts) <= FEW_LINES,
        )
    )
    more = torch.tensor([score.loss - whole.loss for score in without], dtype=torch.float64)
    reading = f"By how much the loss grows from {whole.loss:.4f} when the part's writes are replaced by zeros."
    yield Shown(Panel("loss without a part", reading, more, f"rise of the loss ({unit})", ("part",), (names,)))


def _metric_panels(parts: Sequence[Part], shares: Shares) -> Iterator[Shown]:
    """What the mixers measured of themselves in more than one number."""
    for part, (name, values) in itertools.product(parts, shares.metrics.items()):
        if name.startswith(f"{part.name}.") and 1 <= values.ndim <= 3:
            metric, axes = name.removeprefix(f"{part.name}."), ("index",) * values.ndim
            reading = "What the mixer measured of itself; the mean over the data."
            with suppress(ValueError):  # more than a picture shows
                yield Shown(Panel(metric, reading, values, metric, axes), part.name)
