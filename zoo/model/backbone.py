"""A language model: a stack of layers between an embedding and an unembedding."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contract import State
from zoo.errors import UsageError
from zoo.model.documents import Documents, check_documents
from zoo.model.layer import Layer
from zoo.model.linear import linear
from zoo.model.metrics import combine_metrics
from zoo.model.recipe import Recipe
from zoo.model.stack import Stack
from zoo.residual import Residual
from zoo.task import IGNORE

if TYPE_CHECKING:
    from zoo.model.generate import Prompt

Positions: TypeAlias = Literal["none", "learned"]

CROSS_ENTROPY = "cross_entropy"
"""The language model's own among the losses of a `ModelOutput`."""


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


class Backbone(Stack):
    """A language model: embedding, layers along a residual stream, and the embedding again as unembedding.

    Args:
        layers: in the order of the stream.
        residual: how their parts share the stream.
        vocabulary: how many tokens there are.
        dim: the model width d.
        context: the longest sequence it is trained on; with learned positions also the longest that it can take.
        positions: ``"learned"`` adds a learned vector per position to the embedding; ``"none"`` leaves positions to
            the mixers.
        dropout: on the embedding.
        readout: what stands between the closed stream, ``(b, t, d)``, and the unembedding, for a task that asks
            for it; None for nothing.
        tie_embeddings: whether the unembedding is the embedding, or a matrix of its own.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        residual: Residual,
        *,
        vocabulary: int,
        dim: int,
        context: int,
        positions: Positions = "none",
        dropout: float = 0.0,
        readout: nn.Module | None = None,
        tie_embeddings: bool = True,
    ) -> None:
        super().__init__()
        self.vocabulary, self.dim, self.context, self.dropout = vocabulary, dim, context, dropout
        self.embedding = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(context, dim) if positions == "learned" else None
        self.set_layers(layers, residual)
        self.readout = readout
        # of a given weight, so that nothing is drawn here: tied or not, the other parameters are the same
        self.unembedding = None if tie_embeddings else nn.Embedding.from_pretrained(torch.empty(vocabulary, dim), False)
        self.max_length: int | None = min((limit for limit, _ in self._limits()), default=None)
        """The longest sequence that it takes, None for any: as long as its positions and its mixers reach."""
        self.rounded = False
        """Whether large matrices are in bfloat16 while it computes in float32, see `zoo.model.precision`."""
        self.recipe: Recipe | None = None
        """What `zoo.build_model` built it from; None for a model that was put together by hand."""
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embeddings; the layers have drawn their own parameters."""
        for table in (self.embedding, self.positions, self.unembedding):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        where: Tensor | None = None,
        *,
        documents: Tensor | None = None,
    ) -> ModelOutput:
        """Predict the next token at every position, or at some.

        Args:
            tokens: ``(b, t)``, int64.
            targets: ``(b, t)``, the token to predict at each position; -100 where none is scored.
            where: the positions to predict at, as indices into all ``b * t``, ``(n,)``; None for all. Where few
                positions have a target and the vocabulary is large, most of the work lies in the others.
            documents: ``(b, t)``, int64, of packed rows: a document is a run of equal numbers in a row, and what is
                predicted in it is what would be predicted if it stood alone. None takes each row for one document.

        Raises:
            UsageError: a sequence that is too long, or documents of another shape or type.
        """
        packed = None if documents is None else Documents.of(check_documents(documents, tokens))
        places = torch.arange(tokens.shape[1], device=tokens.device) if packed is None else packed.positions
        ran = self.run_layers(self._embed(tokens, places), packed)
        logits = self._unembed(ran.out if self.readout is None else self.readout(ran.out), where)
        if targets is None:
            return ModelOutput(logits, None, ran.losses, ran.metrics)
        wanted = targets.flatten() if where is None else targets.flatten()[where]
        wide = torch.promote_types(logits.dtype, torch.float32)
        cross_entropy = F.cross_entropy(logits.flatten(0, -2).to(wide), wanted, ignore_index=IGNORE)
        losses = {CROSS_ENTROPY: cross_entropy, **ran.losses}
        summands = [value.to(cross_entropy.dtype) for value in losses.values()]
        return ModelOutput(logits, torch.stack(summands).sum(), losses, ran.metrics)

    def step(self, tokens: Tensor, state: State | None = None, *, only_last: bool = False) -> tuple[Tensor, State]:
        """Predict from the next piece of a sequence, ``(b, t)`` with t >= 1; the state sums up what came before.

        Args:
            tokens: of the piece.
            state: of the step before; None at the start.
            only_last: predict at the last token alone: the logits of a long prompt may be larger than all else.

        Returns:
            The logits, ``(b, t, vocabulary)`` or ``(b, 1, vocabulary)``, and the state for the next step.

        Raises:
            UsageError: the model has a readout or a mixer that looks at whole sequences.
        """
        if self.readout is not None:
            raise UsageError(
                "this model predicts for whole sequences, through the readout of its task: it cannot continue one"
            )
        if state is None:
            start = torch.zeros(tokens.shape[0], dtype=torch.int64, device=tokens.device)
            state = {"position": start, "layers": None}
        places = state["position"][:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        closed, states = self.step_layers(self._embed(tokens, places), state["layers"])
        closed = closed[:, -1:] if only_last else closed
        return self._unembed(closed), {"position": places[:, -1] + 1, "layers": states}

    def generate(
        self,
        prompt: "Prompt | Sequence[Prompt]",
        *,
        tokens: int = 256,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Continue prompts: `zoo.generate` of this model.

        Args:
            prompt: tokens, ``(b, t)``, or ``(t,)`` for a single prompt, or a list of prompts of different lengths.
            tokens: how many to sample.
            temperature: divides the logits; 0 takes the most likely token.
            top_k: sample among the k most likely tokens only.
            top_p: sample among the most likely tokens that together hold at least this probability.
            seed: of a generator of its own.

        Returns:
            The sampled tokens, ``(b, n)`` or ``(n,)``, int64, without the prompt.

        Raises:
            UsageError: a prompt that is no tokens of the model, a value out of range, or a model that cannot continue a
                sequence, as in `step`.
            ZooError: logits that are not finite.
        """
        from zoo.model.generate import generate

        return generate(self, prompt, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)

    def after_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Hand each part its own metrics of the step, as `ModelOutput` named them, after the parameters changed.

        One that several layers share is called once, with what all of its places measured.
        """
        measured: dict[nn.Module, list[dict[str, Tensor]]] = defaultdict(list)
        for index, layer in enumerate(self.each_layer()):
            for place in layer.places():
                prefix = f"{index}.{place.label}."
                measured[place.part].append(
                    {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
                )
        for part, of_places in measured.items():
            after_update = getattr(part, "after_update", None)
            if callable(after_update):
                after_update(of_places[0] if len(of_places) == 1 else combine_metrics(of_places))

    def _limits(self) -> Iterator[tuple[int, bool]]:
        """How many tokens its positions and its mixers reach, and whether that is asked of each document by itself."""
        if self.positions is not None:
            yield self.context, True
        for layer in self.each_layer():
            for place in layer.places():
                limit = getattr(place.part, "max_length", None)
                if limit is not None:
                    yield limit, "documents" not in place.signature.forward

    def _embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        self._check_length(tokens.shape[1], places)
        stream = self.embedding(tokens)
        if self.rounded:
            stream = stream.float()
        if self.positions is not None:
            stream = stream + self.positions(places)
        return F.dropout(stream, self.dropout, self.training) if self.dropout else stream

    def _check_length(self, time: int, places: Tensor) -> None:
        if self.max_length is None:
            return
        longest = time if places.ndim == 1 else int(places.max()) + 1
        for limit, of_documents in sorted(self._limits()):
            length = longest if of_documents else max(longest, time)
            if length > limit:
                reach = "learned positions" if self.positions is not None else "tokens that its mixers reach"
                text = f"a sequence of {length} tokens is longer than the {limit} {reach}; use a shorter one"
                raise UsageError(text)

    def _unembed(self, read: Tensor, where: Tensor | None = None) -> Tensor:
        weight = (self.unembedding or self.embedding).weight
        return linear(read if where is None else read.flatten(0, 1)[where], weight)
