"""Layers along a residual stream: the loop over sites, for whole sequences and for pieces of them.

A site is a place where parts read from the stream and write to it: the token mixers of a layer, side by side, or its
channel mixer. How they read and write is the residual scheme's; a part never adds itself to the stream and never knows
its neighbours, which is why any part composes with any other, and with any scheme.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.contract import Mixed, State, TokenMixer, check_losses, check_write, keywords_of, not_a_step
from zoo.errors import WriteError
from zoo.model.documents import Documents, mix_by_document
from zoo.residual import Residual, Stream, check_read, check_stream

CHANNEL = "channel"
"""The label of whatever stands in the place of a layer's channel mixer."""

EMBEDDING = "embedding"
"""The host's own entry among what layers share."""

States: TypeAlias = tuple[tuple[State, ...], ...]
"""What a step leaves for the next one, by layer and by part that has a state; None at the start."""

Listener: TypeAlias = Callable[[int, str, Stream, Tensor, Tensor], None]
"""Hears of every write: the site, the label of the part, the stream, what was read and what was written."""


@dataclass(frozen=True)
class NamedMixer:
    """A token mixer and the label under which its losses and metrics are reported."""

    label: str
    mixer: TokenMixer


class Place(NamedTuple):
    """Where a part stands in a layer.

    Attributes:
        label: distinct within the layer.
        part: a token mixer or a channel mixer.
        forward_takes, step_takes: the keywords that its methods name.
        has_state: whether it mixes tokens, and so has a state between steps.
    """

    label: str
    part: nn.Module
    forward_takes: frozenset[str]
    step_takes: frozenset[str]
    has_state: bool

    @classmethod
    def of(cls, label: str, part: nn.Module) -> "Place":
        """The place of a part, whose signatures are looked at here, once."""
        step = getattr(part, "step", None)
        step_takes = keywords_of(step) if callable(step) else frozenset[str]()
        return cls(label, part, keywords_of(part.forward), step_takes, callable(step))

    def forward(self, read: Tensor, shared: Mapping[str, Any], documents: Documents | None) -> Mixed:
        """Run the part on whole sequences, ``(b, t, d)``, with what it names."""
        given = dict(shared) if "shared" in self.forward_takes else None
        if documents is not None and "documents" in self.forward_takes:
            return Mixed.of(self._call(read, given, documents=documents.ids), self.part)
        if documents is not None and self.has_state:
            return mix_by_document(self._call, self.part, read, given, documents)
        return Mixed.of(self._call(read, given), self.part)

    def step(self, read: Tensor, shared: Mapping[str, Any], state: State) -> tuple[Mixed, State]:
        """Run the part on a piece of sequences, ``(b, t, d)``."""
        if not self.has_state:
            return self.forward(read, shared, None), None
        given = {"shared": dict(shared)} if "shared" in self.step_takes else {}
        stepped: object = cast(Any, self.part).step(read, state, **given)
        if not isinstance(stepped, tuple) or len(stepped) != 2:
            raise WriteError(self.part, not_a_step(stepped), "step")
        written = stepped[0]
        return written if isinstance(written, Mixed) else Mixed(written), stepped[1]

    def _call(self, read: Tensor, shared: Mapping[str, Any] | None, **given: Tensor) -> Tensor | Mixed:
        return self.part(read, **given) if shared is None else self.part(read, shared=shared, **given)


class Layer(nn.Module):
    """One layer: token mixers that read the stream side by side, then a channel mixer.

    Args:
        mixers: with labels that are distinct within the layer.
        channel: None for a layer without one; a token mixer may stand here too.
        dropout: probability that a channel of a write is dropped in training.
    """

    def __init__(self, mixers: Sequence[NamedMixer], channel: nn.Module | None, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.labels = tuple(named.label for named in mixers)
        self.mixers = nn.ModuleList(named.mixer for named in mixers)
        self.channel = channel
        self.dropout = dropout
        labelled: list[tuple[str, nn.Module]] = [(named.label, named.mixer) for named in mixers]
        of_sites = [labelled] if channel is None else [labelled, [(CHANNEL, channel)]]
        self.sites: Sequence[Sequence[Place]] = [[Place.of(*pair) for pair in pairs] for pairs in of_sites]
        """The parts that stand at each site."""

    @property
    def roles(self) -> tuple[str, ...]:
        """What stands at each site: ``"token"`` or ``"channel"``."""
        return ("token", "channel")[: len(self.sites)]

    def places(self) -> Iterator[Place]:
        """All of them, in the order in which they write."""
        return (place for places in self.sites for place in places)

    def named_mixers(self) -> Iterator[tuple[str, TokenMixer]]:
        """The token mixers with their labels."""
        return ((label, cast(TokenMixer, mixer)) for label, mixer in zip(self.labels, self.mixers, strict=True))

    def forward(
        self,
        stream: Stream,
        shared: Mapping[str, Any],
        *,
        site: int,
        residual: Residual,
        documents: Documents | None = None,
        listeners: Sequence[Listener] = (),
    ) -> tuple[Stream, dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
        """Run whole sequences.

        Args:
            stream: before the layer.
            shared: what earlier layers handed up, and the host's `EMBEDDING`.
            site: the first of the layer, counted along the model.
            residual: the scheme.
            documents: of packed rows.
            listeners: hear of every write.

        Returns:
            The stream after the layer, what is shared then, and the parts' losses and metrics by ``label.name``.
        """
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}

        def mix(place: Place, read: Tensor, shared: Mapping[str, Any]) -> Mixed:
            mixed = place.forward(read, shared, documents)
            check_losses(place.part, mixed.losses)
            losses.update({f"{place.label}.{name}": value for name, value in mixed.losses.items()})
            metrics.update({f"{place.label}.{name}": value for name, value in mixed.metrics.items()})
            return mixed

        stream, shared = self._run(mix, "forward", stream, shared, site=site, residual=residual, listeners=listeners)
        return stream, shared, losses, metrics

    def step(
        self, stream: Stream, shared: Mapping[str, Any], states: Sequence[State], *, site: int, residual: Residual
    ) -> tuple[Stream, dict[str, Any], tuple[State, ...]]:
        """Run the next piece, given a state for each part that has one (None at the start); as `forward`."""
        before, after = iter(states), []

        def mix(place: Place, read: Tensor, shared: Mapping[str, Any]) -> Mixed:
            mixed, state = place.step(read, shared, next(before) if place.has_state else None)
            if place.has_state:
                after.append(state)
            return mixed

        stream, shared = self._run(mix, "step", stream, shared, site=site, residual=residual)
        return stream, shared, tuple(after)

    def start(self) -> tuple[State, ...]:
        """The states before the first step."""
        return (None,) * sum(place.has_state for place in self.places())

    def _run(
        self,
        mix: Callable[[Place, Tensor, Mapping[str, Any]], Mixed],
        method: str,
        stream: Stream,
        shared: Mapping[str, Any],
        *,
        site: int,
        residual: Residual,
        listeners: Sequence[Listener] = (),
    ) -> tuple[Stream, dict[str, Any]]:
        """The loop over the sites of the layer, and over the parts of each."""
        embedding = shared[EMBEDDING]
        shared = dict(shared)
        for index, places in enumerate(self.sites, start=site):
            read = check_read(residual, residual.read(stream, index), embedding, "read")
            handed_up: dict[str, Any] = {}
            writes = []
            for place in places:
                mixed = mix(place, read, shared)
                write = check_write(place.part, mixed.out, read, method if place.has_state else "forward")
                handed_up |= _handed_up(place.part, mixed)
                for hear in listeners:
                    hear(index, place.label, stream, read, write)
                write = F.dropout(write, self.dropout, self.training) if self.dropout else write
                if residual.additive:
                    stream = check_stream(residual, residual.write(stream, index, write), embedding, "write")
                else:
                    writes.append(write)
            if writes:
                written = reduce(torch.add, writes)
                stream = check_stream(residual, residual.write(stream, index, written), embedding, "write")
            shared |= handed_up
        return stream, shared


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
        counts = [len(layer.sites) for layer in layers]
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


def _handed_up(part: nn.Module, mixed: Mixed) -> Mapping[str, Any]:
    if EMBEDDING in mixed.shared:
        raise WriteError(part, f"shared {EMBEDDING!r} is the host's own entry: choose another name")
    return mixed.shared
