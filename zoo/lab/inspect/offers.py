"""The panels that the mixers themselves have to offer."""

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

MOST_PANELS = 16
"""So many panels a mixer may show."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A panel, and the part that it is about; None for the whole model."""

    panel: Panel
    part: str | None = None

    @property
    def heading(self) -> str:
        """The title with the part."""
        return f"{self.part}: {self.panel.title}" if self.part else self.panel.title


@dataclass(frozen=True)
class Failed:
    """A mixer whose panels could not be had."""

    part: str
    mixer: str
    distribution: str
    error: str


@torch.no_grad()
def panels_offered(parts: Sequence[Part], reads: Sequence[Tensor]) -> Iterator[Shown | Failed]:
    """Ask each token mixer for its panels; one that fails is told, and stops nothing.

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
                yield from (Shown(panel, part.name) for panel in panels)


def failure_of(part: Part, error: Exception) -> Failed:
    """Say whose fault it is that the panels of a part cannot be shown."""
    author = author_of(part)
    return Failed(part.name, author.name, author.distribution, describe_cause(error, type(part.module)))


def _checked(mixer: TokenMixer, reads: Tensor) -> list[Panel]:
    panels = list(islice(mixer.panels(reads), MOST_PANELS + 1))
    if len(panels) > MOST_PANELS:
        raise ValueError(f"panels() gave more than {MOST_PANELS} panels")
    for panel in panels:
        if not isinstance(panel, Panel):
            raise TypeError(f"panels() should give zoo.Panel objects, not {type(panel).__name__}")
    return [replace(panel, values=panel.values.detach().to("cpu", torch.float64)) for panel in panels]
