"""The parts of a model: everything that writes to its stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from torch import nn

from zoo.model.backbone import Layer


class Stack(Protocol):
    """A module of layers, such as a `Backbone`."""

    layers: nn.ModuleList

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Any:
        """As of `torch.nn.Module`."""


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a model.

    Attributes:
        layer: counted from 0.
        label: the name of a token mixer in the pattern, numbered where it comes again; ``"channel"``.
        kind: whether it mixes tokens or channels.
        module: the part itself.
    """

    layer: int
    label: str
    kind: Literal["token", "channel"]
    module: nn.Module

    @property
    def name(self) -> str:
        """The name within the model, e.g. ``"0.correlation"`` or ``"0.channel"``."""
        return f"{self.layer}.{self.label}"


def parts_of(model: Stack) -> list[Part]:
    """The parts of a model, in the order in which they write."""
    return [part for index, layer in enumerate(model.layers) for part in parts_of_layer(index, cast(Layer, layer))]


def parts_of_layer(index: int, layer: Layer) -> list[Part]:
    """Those of one layer."""
    parts = [Part(index, label, "token", mixer) for label, mixer in layer.named_mixers()]
    return parts if layer.channel is None else [*parts, Part(index, "channel", "channel", layer.channel)]
