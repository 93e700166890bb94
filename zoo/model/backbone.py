"""The residual stream: what the parts of a model share, and the only thing that they share.

A part reads the stream through a norm of its own and writes to it; the host adds what is written, scaled by the depth.
A part never adds itself to the stream and never knows its neighbours, which is why any mixer composes with any other.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.contract import Mixed, State, TokenMixer, check_losses, check_write, not_a_step
from zoo.errors import UsageError, WriteError
from zoo.model.metrics import combine_metrics
from zoo.model.norm import RMSNorm
from zoo.task import IGNORE

Positions: TypeAlias = Literal["none", "learned"]

CROSS_ENTROPY = "cross_entropy"
"""The language model's own among the losses of a `ModelOutput`."""


@dataclass(frozen=True)
class NamedMixer:
    """A token mixer and the label under which its losses and metrics are told."""

    label: str
    mixer: TokenMixer


class ModelOutput(NamedTuple):
    """What a model says of a batch.

    Attributes:
        logits: ``(b, t, vocabulary)``; ``(n, vocabulary)`` where only n positions were asked for.
        loss: what to minimise: the mean cross-entropy in nats per target and the auxiliary losses; None without
            targets.
        losses: the summands of the loss by name; `CROSS_ENTROPY` is the language model's own.
        metrics: what the mixers tell of themselves, by ``layer.label.name``.
    """

    logits: Tensor
    loss: Tensor | None
    losses: dict[str, Tensor]
    metrics: dict[str, Tensor]


class Layer(nn.Module):
    """One layer: token mixers that read the stream side by side, then a channel mixer.

    Args:
        mixers: with labels that are distinct within the layer.
        channel: None for a layer without one.
        dim: the model width d.
        write_scale: every write is multiplied by it before it is added, so that the stream keeps its size however
            deep the model is (Yang et al. 2023, arXiv:2310.02244). It holds for every mixer, also for one without
            parameters.
        dropout: probability that a channel of a write is dropped in training.
    """

    def __init__(
        self, mixers: Sequence[NamedMixer], channel: nn.Module | None, *, dim: int, write_scale: float, dropout: float
    ) -> None:
        super().__init__()
        self.labels = tuple(named.label for named in mixers)
        self.mixer_norm = RMSNorm(dim)
        self.mixers = nn.ModuleList(named.mixer for named in mixers)
        self.channel_norm = RMSNorm(dim) if channel is not None else None
        self.channel = channel
        self.write_scale = write_scale
        self.dropout = dropout

    def forward(self, stream: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The stream ``(b, t, d)`` after the layer, and its mixers' losses and metrics by ``label.name``."""
        read = self.mixer_norm(stream)
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        for label, mixer in self.named_mixers():
            mixed = Mixed.of(mixer(read), mixer)
            check_losses(mixer, mixed.losses)
            losses.update({f"{label}.{name}": value for name, value in mixed.losses.items()})
            metrics.update({f"{label}.{name}": value for name, value in mixed.metrics.items()})
            stream = self._add(stream, check_write(mixer, mixed.out, read))
        return self._mix_channels(stream), losses, metrics

    def step(self, stream: Tensor, states: Sequence[State]) -> tuple[Tensor, tuple[State, ...]]:
        """The next piece of the stream, ``(b, t, d)``, given a state per mixer (None at the start)."""
        read = self.mixer_norm(stream)
        new_states = []
        for (_, mixer), state in zip(self.named_mixers(), states, strict=True):
            stepped: object = mixer.step(read, state)
            if not isinstance(stepped, tuple) or len(stepped) != 2:
                raise WriteError(mixer, not_a_step(stepped), "step")
            new_states.append(stepped[1])
            stream = self._add(stream, check_write(mixer, stepped[0], read, "step"))
        return self._mix_channels(stream), tuple(new_states)

    def named_mixers(self) -> Iterator[tuple[str, TokenMixer]]:
        """The token mixers with their labels."""
        return ((label, cast(TokenMixer, mixer)) for label, mixer in zip(self.labels, self.mixers, strict=True))

    def _mix_channels(self, stream: Tensor) -> Tensor:
        if self.channel is None or self.channel_norm is None:
            return stream
        read = self.channel_norm(stream)
        return self._add(stream, check_write(self.channel, self.channel(read), read))

    def _add(self, stream: Tensor, write: Tensor) -> Tensor:
        write = F.dropout(write, self.dropout, self.training) if self.dropout else write
        return torch.add(stream, write, alpha=self.write_scale)


class Backbone(nn.Module):
    """A language model: embedding, layers along a residual stream, norm, and the embedding again as unembedding.

    Args:
        layers: in the order of the stream.
        vocabulary: how many tokens there are.
        dim: the model width d.
        context: the longest sequence it is trained on; with learned positions also the longest that it can take.
        positions: ``"learned"`` adds a learned vector per position to the embedding; ``"none"`` leaves positions to
            the mixers.
        dropout: on the embedding.
        readout: what stands between the normalised stream, ``(b, t, d)``, and the unembedding, for a task that asks
            for it; None for nothing.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        vocabulary: int,
        dim: int,
        context: int,
        positions: Positions = "none",
        dropout: float = 0.0,
        readout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.vocabulary, self.dim, self.context, self.dropout = vocabulary, dim, context, dropout
        self.activation_checkpointing = False
        """Recompute each layer in the backward pass instead of keeping what it computed: less memory, more time."""
        self.embedding = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(context, dim) if positions == "learned" else None
        self.layers = nn.ModuleList(layers)
        self.norm = RMSNorm(dim)
        self.readout = readout
        limits = [mixer.max_length for layer in layers for _, mixer in layer.named_mixers()]
        limits += [context if self.positions is not None else None]
        self.max_length: int | None = min((limit for limit in limits if limit is not None), default=None)
        """The longest sequence that it takes, None for any: as long as its positions and its mixers reach."""
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embeddings; the layers have drawn their own parameters."""
        nn.init.normal_(self.embedding.weight, std=0.02)
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor | None = None, where: Tensor | None = None) -> ModelOutput:
        """Predict the next token at every position, or at some.

        Args:
            tokens: ``(b, t)``, int64.
            targets: ``(b, t)``, the token to predict at each position; -100 where none is scored.
            where: the positions to predict at, as indices into all ``b * t``, ``(n,)``; None for all. Where few
                positions have a target and the vocabulary is large, most of the work lies in the others.
        """
        stream = self._embed(tokens, torch.arange(tokens.shape[1], device=tokens.device))
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        for index, layer in enumerate(self.layers):
            stream, said, measured = self._run(layer, stream)
            losses.update({f"{index}.{name}": value for name, value in said.items()})
            metrics.update({f"{index}.{name}": value for name, value in measured.items()})
        logits = self._unembed(self._read_out(stream), where)
        if targets is None:
            return ModelOutput(logits, None, losses, metrics)
        answers = targets.flatten() if where is None else targets.flatten()[where]
        wide = torch.promote_types(logits.dtype, torch.float32)
        cross_entropy = F.cross_entropy(logits.flatten(0, -2).to(wide), answers, ignore_index=IGNORE)
        losses = {CROSS_ENTROPY: cross_entropy, **losses}
        summands = [value.to(cross_entropy.dtype) for value in losses.values()]
        return ModelOutput(logits, torch.stack(summands).sum(), losses, metrics)

    def step(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict from the next piece of a sequence, ``(b, t)`` with t >= 1; the state sums up what came before.

        Returns:
            The logits, ``(b, t, vocabulary)``, and the state for the next step.

        Raises:
            UsageError: the model has a readout, which looks at whole sequences.
        """
        if self.readout is not None:
            raise UsageError("this model answers for whole sequences, through the readout of its task: it cannot go on")
        if state is None:
            start = torch.zeros(tokens.shape[0], dtype=torch.int64, device=tokens.device)
            state = {"position": start, "layers": tuple((None,) * len(layer.labels) for layer in self.each_layer())}
        places = state["position"][:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        stream = self._embed(tokens, places)
        states = []
        for layer, mixer_states in zip(self.each_layer(), state["layers"], strict=True):
            stream, new_states = layer.step(stream, mixer_states)
            states.append(new_states)
        return self._unembed(self.norm(stream)), {"position": places[:, -1] + 1, "layers": tuple(states)}

    def each_layer(self) -> Iterator[Layer]:
        """The layers, in the order of the stream."""
        return (cast(Layer, layer) for layer in self.layers)

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Hand each mixer its own metrics of the step, as `ModelOutput` named them, after the parameters changed.

        One that several layers share is called once, with what all of its places measured.
        """
        measured: dict[TokenMixer, list[dict[str, Tensor]]] = defaultdict(list)
        for index, layer in enumerate(self.each_layer()):
            for label, mixer in layer.named_mixers():
                prefix = f"{index}.{label}."
                measured[mixer].append(
                    {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
                )
        for mixer, of_places in measured.items():
            mixer.after_update(of_places[0] if len(of_places) == 1 else combine_metrics(of_places))

    def _run(self, layer: nn.Module, stream: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        if self.activation_checkpointing and self.training:
            return checkpoint(layer, stream, use_reentrant=False)
        return layer(stream)

    def _embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        if self.max_length is not None:
            self._check_length(places, self.max_length)
        stream = self.embedding(tokens)
        if self.positions is not None:
            stream = stream + self.positions(places)
        return F.dropout(stream, self.dropout, self.training) if self.dropout else stream

    def _check_length(self, places: Tensor, limit: int) -> None:
        longest = places.shape[-1] if places.ndim == 1 else int(places.max()) + 1
        if longest > limit:
            reach = "learned positions" if self.positions is not None else "tokens that its mixers reach"
            raise UsageError(f"a sequence of {longest} tokens is longer than the {limit} {reach}; use a shorter one")

    def _read_out(self, stream: Tensor) -> Tensor:
        stream = self.norm(stream)
        return stream if self.readout is None else self.readout(stream)

    def _unembed(self, read: Tensor, where: Tensor | None = None) -> Tensor:
        return F.linear(read if where is None else read.flatten(0, 1)[where], self.embedding.weight)
