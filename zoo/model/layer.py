"""One layer along a residual stream: parts that stand at its sites, and the loop over those."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contract import Mixed, State, TokenMixer, check_losses, check_write, keywords_of, not_a_step
from zoo.errors import UsageError, WriteError
from zoo.model.documents import Documents, mix_by_document
from zoo.residual import Residual, Stream, check_read, check_stream

CHANNEL = "channel"
"""The label of whatever stands in the place of a layer's channel mixer."""

EMBEDDING = "embedding"
"""The host's own entry among what layers share."""

Listener: TypeAlias = Callable[[int, str, Stream, Tensor, Tensor], None]
"""Hears of every write: the site, the label of the part, the stream, what was read and what was written."""


@dataclass(frozen=True)
class NamedMixer:
    """A token mixer and the label under which its losses and metrics are reported."""

    label: str
    mixer: TokenMixer


class Signature(NamedTuple):
    """What the host has to know of the class of a part.

    Attributes:
        forward, step: the keywords that these methods name.
        has_state: whether it mixes tokens, and so has a state between steps.
    """

    forward: frozenset[str]
    step: frozenset[str]
    has_state: bool

    @classmethod
    def of(cls, part: nn.Module) -> "Signature":
        """The signatures of a part."""
        step = getattr(part, "step", None)
        return cls(keywords_of(part.forward), keywords_of(step) if callable(step) else frozenset(), callable(step))


class Place(NamedTuple):
    """Where a part stands in a layer: its label, distinct within the layer, and the part."""

    label: str
    part: nn.Module
    signature: Signature

    @property
    def has_state(self) -> bool:
        """Whether the part has a state between steps."""
        return self.signature.has_state

    def forward(self, read: Tensor, shared: Mapping[str, Any], documents: Documents | None) -> Mixed:
        """Run the part on whole sequences, ``(b, t, d)``, with what it names."""
        given = dict(shared) if "shared" in self.signature.forward else None
        if documents is not None and "documents" in self.signature.forward:
            return Mixed.of(self._call(read, given, documents=documents.ids), self.part)
        if documents is not None and self.has_state:
            return mix_by_document(self._call, self.part, read, given, documents)
        return Mixed.of(self._call(read, given), self.part)

    def step(self, read: Tensor, shared: Mapping[str, Any], state: State) -> tuple[Mixed, State]:
        """Run the part on a piece of sequences, ``(b, t, d)``.

        Raises:
            UsageError: it is not causal: what comes next would change what it wrote before.
        """
        if not self.has_state:
            return self.forward(read, shared, None), None
        if not getattr(self.part, "causal", True):
            raise UsageError(f"{type(self.part).__name__} is not causal, so the model cannot continue a sequence")
        given = {"shared": dict(shared)} if "shared" in self.signature.step else {}
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
        self._parts: list[nn.Module | None] = []
        self._sites: list[list[Place]] = []
        """Of these parts; one may be replaced, e.g. by one that is wrapped, and is looked at then."""
        self.sites()

    @property
    def roles(self) -> tuple[str, ...]:
        """What stands at each site: ``"token"`` or ``"channel"``."""
        return ("token",) if self.channel is None else ("token", "channel")

    def sites(self) -> list[list[Place]]:
        """The parts that stand at each site."""
        parts = [*self.mixers, self.channel]
        if self._parts != parts:
            labelled: list[tuple[str, nn.Module]] = list(zip(self.labels, self.mixers, strict=True))
            of_sites = [labelled] if self.channel is None else [labelled, [(CHANNEL, self.channel)]]
            self._sites = [[Place(label, part, Signature.of(part)) for label, part in pairs] for pairs in of_sites]
            self._parts = parts
        return self._sites

    def places(self) -> Iterator[Place]:
        """All of them, in the order in which they write."""
        return (place for places in self.sites() for place in places)

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
            listeners: called at every write.

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
        for index, places in enumerate(self.sites(), start=site):
            read = check_read(residual, residual.read(stream, index), embedding, "read")
            handed_up: dict[str, Any] = {}
            writes = []
            for place in places:
                mixed = mix(place, read, shared)
                write = check_write(place.part, mixed.out, read, method if place.has_state else "forward")
                handed_up |= _handed_up(place.part, mixed)
                for listen in listeners:
                    listen(index, place.label, stream, read, write)
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


def _handed_up(part: nn.Module, mixed: Mixed) -> Mapping[str, Any]:
    if EMBEDDING in mixed.shared:
        raise WriteError(part, f"shared {EMBEDDING!r} is the host's own entry: choose another name")
    return mixed.shared
