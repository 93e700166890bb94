"""The whole inspection of a run, from its folder to numbers and panels."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contract import Mixed
from zoo.data.source import Batch, Source
from zoo.errors import UsageError
from zoo.lab.inspect.panels import PanelFailure, PanelResult, collect_panels
from zoo.lab.inspect.traffic import WriteSizes, measure_writes
from zoo.model.backbone import Backbone
from zoo.model.faults import explaining
from zoo.model.hooks import hook_write
from zoo.model.parts import Part, parts_of
from zoo.model.stack import Stack
from zoo.model.watch import watch_stream
from zoo.panel import Panel
from zoo.run import Run
from zoo.train.evaluate import Score, evaluate
from zoo.train.find_data import find_run_source
from zoo.train.not_finite import explain_writes
from zoo.train.plugins import with_recorded_origins
from zoo.train.run_directory import RunDirectory

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
        sizes: what the parts write.
        source: of the data that it was measured on.
        shown: the panels, those of the whole model first, and the mixers whose panels failed.
        warnings: what makes the figures worthless, in a line each.
    """

    run: Path
    step: int
    whole: Score
    parts: Sequence[Part]
    without: Sequence[Score]
    sizes: WriteSizes
    source: Source
    shown: Sequence[PanelResult | PanelFailure]
    warnings: Sequence[str] = ()

    @property
    def failures(self) -> list[PanelFailure]:
        """The mixers whose panels failed."""
        return [item for item in self.shown if isinstance(item, PanelFailure)]


def inspect_run(
    run: Run, *, tokens: int = 16384, data: str | None = None, progress: Callable[[str], None] | None = None
) -> Inspection:
    """Measure what each part of a trained model writes, and what the model loses without it.

    Args:
        run: its model in evaluation mode.
        tokens: about how many of the validation data to measure on.
        data: where the run's text lies now; None looks where it was typed and where it lay.
        progress: is called with what is being done.

    Raises:
        UsageError: less than one token, or data that is not available.
    """
    if tokens < 1:
        raise UsageError(f"`tokens`={tokens} should be 1 or more")
    source, parts = source_of_run(run, data), parts_of(run.model)
    settings = run.settings
    batches = list(source.validation_batches(context=settings.context, batch=settings.batch, limit=tokens))
    if not parts:
        raise UsageError(f"{run.path}: the model has no part that writes to its stream, so there is nothing to inspect")
    report = progress or (lambda _text: None)
    report("measuring what the parts write")
    with explaining():
        sizes, whole = measure_writes(run.model, batches), evaluate(run.model, batches, precision="fp32")
    without = []
    for number, part in enumerate(parts, start=1):
        report(f"measuring the loss without {part.name} ({number} of {len(parts)})")
        with explaining(), switched_off(run.model, part):
            without.append(evaluate(run.model, batches, precision="fp32"))
    report("drawing")
    shown = itertools.chain(
        _overview(parts, sizes, whole, without, source.unit),
        _metric_panels(parts, sizes),
        collect_panels(parts, sizes.reads),
    )
    warnings = [] if math.isfinite(whole.loss) else [_why_not_finite(run.model, batches)]
    return Inspection(run.path, run.step, whole, parts, without, sizes, source, list(shown), warnings)


@torch.no_grad()
def _why_not_finite(model: Backbone, batches: Sequence[Batch]) -> str:
    device = next(model.parameters()).device
    for batch in batches:
        with watch_stream(model) as log:
            model(batch.inputs.to(device), **batch.documents_for(device))
        if cause := explain_writes(model, log):
            return f"the validation loss is not finite. {cause.text}"
    return "the validation loss is not finite, although every part writes finite numbers"


def source_of_run(run: Run, data: str | None = None) -> Source:
    """The text or the task that a run has learned from.

    Args:
        run: the run.
        data: where the text lies now; None looks where it was typed and where it lay when the run began.

    Raises:
        UsageError: the data is not available, or is not those of the run.
    """
    directory = RunDirectory.open(run.path)
    source, _ = find_run_source(directory, run.settings, with_recorded_origins(directory.environment), given=data)
    return source


@contextmanager
def switched_off(model: Stack, part: Part) -> Iterator[None]:
    """Put zeros in the place of what a part writes; what else it says stays, and so do other places of its module.

    Args:
        model: an eager one.
        part: one of its parts.
    """
    hook = hook_write(model, part, _silence)
    try:
        yield
    finally:
        hook.remove()


def _silence(part: nn.Module, _reads: Any, written: Tensor | Mixed) -> Tensor | Mixed:
    silent = torch.zeros_like(Mixed.of(written, part).out)
    return replace(written, out=silent) if isinstance(written, Mixed) else silent


def _overview(
    parts: Sequence[Part], sizes: WriteSizes, whole: Score, without: Sequence[Score], unit: str
) -> Iterator[PanelResult]:
    names = [part.name for part in parts]
    reading = "How large what a part writes is beside the stream that it is added to; the mean over tokens."
    quantity = "norm of the write / norm of the stream"
    yield PanelResult(Panel("size of the writes", reading, sizes.mean, quantity, ("part",), (names,)))
    reading = "Where in a sequence a part writes more or less than its mean: 0 is the mean, 1 twice it, -1 half."
    yield PanelResult(
        Panel(
            "size of the writes by position",
            reading,
            (sizes.by_position / sizes.mean[:, None]).log2(),
            "log2 (size / mean size of the part)",
            axes=("part", "position (token)"),
            ticks=(names, ()),
            lines=len(parts) <= FEW_LINES,
        )
    )
    more = torch.tensor([score.loss - whole.loss for score in without], dtype=torch.float64)
    reading = f"By how much the loss grows from {whole.loss:.4f} when the part's writes are replaced by zeros."
    yield PanelResult(Panel("loss without a part", reading, more, f"rise of the loss ({unit})", ("part",), (names,)))


def _metric_panels(parts: Sequence[Part], sizes: WriteSizes) -> Iterator[PanelResult]:
    """What the mixers measured of themselves in more than one number."""
    for part, (name, values) in itertools.product(parts, sizes.metrics.items()):
        if name.startswith(f"{part.name}.") and 1 <= values.ndim <= 3:
            metric, axes = name.removeprefix(f"{part.name}."), ("index",) * values.ndim
            reading = "What the mixer measured of itself; the mean over the data."
            with suppress(ValueError):  # more than a picture shows
                yield PanelResult(Panel(metric, reading, values, metric, axes), part.name)
