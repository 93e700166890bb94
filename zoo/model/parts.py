"""The parts of a model: everything that writes to its stream."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from zoo.model.layer import CHANNEL
from zoo.model.stack import Stack


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a model.

    Attributes:
        layer: counted from 0.
        label: the name of a token mixer in the pattern, numbered where it comes again; ``"channel"``.
        kind: whether it mixes tokens or channels; ``"residual"`` for the scheme, which is in no layer.
        module: the part itself.
    """

    layer: int
    label: str
    kind: Literal["token", "channel", "residual"]
    module: nn.Module

    @property
    def name(self) -> str:
        """The name within the model, e.g. ``"0.correlation"`` or ``"0.channel"``."""
        return f"{self.layer}.{self.label}"


def parts_of(model: Stack) -> list[Part]:
    """The parts of a model, in the order in which they write."""
    return [
        Part(index, place.label, "channel" if role == CHANNEL else "token", place.part)
        for index, layer in enumerate(model.each_layer())
        for role, places in zip(layer.roles, layer.sites(), strict=True)
        for place in places
    ]
