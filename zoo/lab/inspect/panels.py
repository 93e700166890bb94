"""The panels that the mixers give of themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from zoo.contract import TokenMixer
from zoo.model.faults import author_of
from zoo.model.parts import Part
from zoo.model.tracebacks import describe_cause
from zoo.panel import Panel

MAX_PANELS = 16
"""Of a mixer."""


@dataclass(frozen=True, eq=False)
class PanelResult:
    """A panel, and the part that it is about; None for the whole model."""

    panel: Panel
    part: str | None = None

    @property
    def heading(self) -> str:
        """The title with the part."""
        return f"{self.part}: {self.panel.title}" if self.part else self.panel.title


@dataclass(frozen=True)
class PanelFailure:
    """A mixer whose panels failed."""

    part: str
    mixer: str
    distribution: str
    error: str


@torch.no_grad()
def collect_panels(parts: Sequence[Part], reads: Sequence[Tensor]) -> Iterator[PanelResult | PanelFailure]:
    """Ask each token mixer for its panels; one that fails is reported, and stops nothing.

    Args:
        parts: those of a model in evaluation mode.
        reads: what each of them read, ``(b, t, d)``.
    """
    for part, read in zip(parts, reads, strict=True):
        if isinstance(part.module, TokenMixer):
            try:
                panels = _checked(part.module, read.clone())
            except Exception as error:
                yield failure_of(part, error)
            else:
                yield from (PanelResult(panel, part.name) for panel in panels)


def failure_of(part: Part, error: Exception) -> PanelFailure:
    """Say which distribution's mixer has panels that cannot be shown."""
    author = author_of(part)
    return PanelFailure(part.name, author.name, author.distribution, describe_cause(error, type(part.module)))


def _checked(mixer: TokenMixer, reads: Tensor) -> list[Panel]:
    panels = list(islice(mixer.panels(reads), MAX_PANELS + 1))
    if len(panels) > MAX_PANELS:
        raise ValueError(f"panels() gave more than {MAX_PANELS} panels")
    for panel in panels:
        if not isinstance(panel, Panel):
            raise TypeError(f"panels() should give zoo.Panel objects, not {type(panel).__name__}")
    return [replace(panel, values=panel.values.detach().to("cpu", torch.float64)) for panel in panels]
