"""The parts of a model: everything that writes to its stream."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from zoo.backbone import Backbone


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a model.

    Attributes:
        name: e.g. ``"0.correlation"`` or ``"0.channel"``, as `zoo.stream` calls it.
        layer: counted from 0.
        kind: whether it mixes tokens or channels.
        module: the part itself.
    """

    name: str
    layer: int
    kind: Literal["token", "channel"]
    module: nn.Module


def parts_of(model: Backbone) -> list[Part]:
    """The parts of a model, in the order in which they write."""
    parts = []
    for index, layer in enumerate(model.each_layer()):
        parts += [Part(f"{index}.{label}", index, "token", mixer) for label, mixer in layer.named_mixers()]
        if layer.channel is not None:
            parts.append(Part(f"{index}.channel", index, "channel", layer.channel))
    return parts
