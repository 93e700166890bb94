"""Layers along a residual stream: the loop over sites, for whole sequences and for pieces of them.

A site is a place where parts read from the stream and write to it: the token mixers of a layer, side by side, or its
channel mixer. How they read and write is the residual scheme's; a part never adds itself to the stream and never knows
its neighbours, which is why any part composes with any other, and with any scheme.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.contract import State
from zoo.model.documents import Documents
from zoo.model.layer import EMBEDDING, Layer, Listener
from zoo.model.linear import use_quick_linears
from zoo.residual import Residual, Stream, check_read, check_stream

States: TypeAlias = tuple[tuple[State, ...], ...]
"""What a step leaves for the next one, by layer and by part that has a state; None at the start."""


class Ran(NamedTuple):
    """What came of a pass over all layers.

    Attributes:
        out: the closed stream, ``(b, t, d)``.
        losses, metrics: of the parts, by ``layer.label.name``.
    """

    out: Tensor
    losses: dict[str, Tensor]
    metrics: dict[str, Tensor]


class Stack(nn.Module):
    """Layers along a residual stream. A subclass says what enters it, and what is made of what comes out.

    A subclass calls `set_layers` in its ``__init__``.
    """

    layers: nn.ModuleList
    residual: Residual

    def __init__(self) -> None:
        super().__init__()
        self.activation_checkpointing = False
        """Recompute each layer in the backward pass instead of keeping what it computed: less memory, more time."""
        self.listeners: list[Listener] = []
        """Hear of every write of a forward pass, see `zoo.watch_stream`."""

    def set_layers(self, layers: Sequence[Layer], residual: Residual) -> None:
        """Put layers along a stream.

        Args:
            layers: in the order of the stream.
            residual: the scheme, made for their sites.
        """
        self.layers, self.residual = nn.ModuleList(layers), residual
        use_quick_linears(self)
        counts = [len(layer.roles) for layer in layers]
        self.first_sites = tuple(sum(counts[:index]) for index in range(len(counts)))
        """The first site of each layer."""

    def each_layer(self) -> Iterator[Layer]:
        """The layers, in the order of the stream."""
        return (cast(Layer, layer) for layer in self.layers)

    def layer_of(self, site: int) -> int:
        """The layer in which a site is."""
        return max(index for index, first in enumerate(self.first_sites) if first <= site)

    def run_layers(self, embedded: Tensor, documents: Documents | None = None) -> Ran:
        """Run whole sequences of embedded tokens, ``(b, t, d)``."""
        shared: dict[str, Any] = {EMBEDDING: embedded}
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        checkpointed, listeners = self.activation_checkpointing and self.training, tuple(self.listeners)
        stream = self._open(embedded)
        for index, (layer, site) in enumerate(zip(self.layers, self.first_sites, strict=True)):
            run = partial(checkpoint, layer, use_reentrant=False) if checkpointed else layer
            stream, shared, said, measured = run(
                stream, shared, site=site, residual=self.residual, documents=documents, listeners=listeners
            )
            losses.update({f"{index}.{name}": value for name, value in said.items()})
            metrics.update({f"{index}.{name}": value for name, value in measured.items()})
        return Ran(self._close(stream, embedded), losses, metrics)

    def step_layers(self, embedded: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Run the next piece of sequences: the closed stream, ``(b, t, d)``, and the states after it."""
        states = states or tuple(layer.start() for layer in self.each_layer())
        shared: dict[str, Any] = {EMBEDDING: embedded}
        later = []
        stream = self._open(embedded)
        for layer, site, before in zip(self.each_layer(), self.first_sites, states, strict=True):
            stream, shared, after = layer.step(stream, shared, before, site=site, residual=self.residual)
            later.append(after)
        return self._close(stream, embedded), tuple(later)

    def parameters_along_stream(self) -> list[nn.Parameter]:
        """All parameters in the order in which the stream meets them.

        What a scheme keeps for a site, under a name ``residual.….<site>``, comes before the parts of that site. The
        norm of a gradient is a sum over parameters, whose last bits depend on their order, and runs of versions that
        kept norms in the layers are resumed bit for bit.
        """
        order = {name: number for number, name in enumerate(self._modules)}

        def key(name: str) -> tuple[int, ...]:
            top = name.partition(".")[0]
            if match := re.match(r"layers\.(\d+)\.(channel\.)?", name):
                return order["layers"], self.first_sites[int(match[1])] + bool(match[2]), 1
            if match := re.match(r"residual\.\w+\.(\d+)(\.|$)", name):
                return order["layers"], int(match[1]), 0
            return (order.get(top, -1),)

        named = sorted(self.named_parameters(), key=lambda pair: key(pair[0]))
        return [parameter for _, parameter in named]

    def _open(self, embedded: Tensor) -> Stream:
        return check_stream(self.residual, self.residual.open(embedded), embedded, "open")

    def _close(self, stream: Stream, embedded: Tensor) -> Tensor:
        return check_read(self.residual, self.residual.close(stream), embedded, "close")


def site_roles(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What stands at each site of layers: ``"token"`` or ``"channel"``."""
    return tuple(role for layer in layers for role in layer.roles)
