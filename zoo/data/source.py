"""What a model learns from and is measured on, whether that is a text or a task."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from zoo.task import IGNORE

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from zoo.model.backbone import Backbone
    from zoo.tokenizer import Tokenizer

__all__ = ["IGNORE", "Batch", "Metric", "Source"]

Metric: TypeAlias = Literal["accuracy", "loss"]
"""By what models are compared: of an accuracy more is better, of a loss less."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences and the targets at their positions.

    Attributes:
        inputs: tokens, ``(b, t)``, int64.
        targets: the answer at each of them, for a text the token after it, ``(b, t)``, int64; `IGNORE` where none is.
        offsets: where each sequence was taken from, ``(b,)``, int64: its place in the text, or its number among the
            examples.
        where: the positions that have a target, as indices into all ``b * t``, ``(n,)``; None where nearly all have
            one, and looking at the others costs little.
        scored: the positions that count for the accuracy, ``(b, t)``, bool; None for all that have a target.
        slices: whole numbers by which the accuracy is broken down, ``(b, t)`` each, by what they count.
        documents: which document of its sequence each token belongs to, ``(b, t)``, int64: a document is a run of equal
            ids in a row, and sees no other. None where a sequence is one document.
        accepted: the tokens that are correct, ``(b, t, v)``, bool; None where only the target is.
    """

    inputs: "Tensor"
    targets: "Tensor"
    offsets: "Tensor"
    where: "Tensor | None" = None
    scored: "Tensor | None" = None
    slices: "Mapping[str, Tensor]" = field(default_factory=dict)
    documents: "Tensor | None" = None
    accepted: "Tensor | None" = None

    def at_predictions(self, values: "Tensor") -> "Tensor":
        """Values of all positions, ``(b, t)`` or flat, at the n positions that are predicted at, ``(n,)``."""
        return values.flatten() if self.where is None else values.flatten()[self.where]

    def are_correct(self, predictions: "Tensor", targets: "Tensor") -> "Tensor":
        """Which tokens predicted at the n positions are correct, ``(n,)``, bool, given the targets there."""
        if self.accepted is None:
            return predictions == targets
        accepted = self.accepted.flatten(0, 1)
        accepted = accepted if self.where is None else accepted[self.where]
        return accepted.gather(1, predictions[:, None]).squeeze(1) & (targets != IGNORE)

    def documents_for(self, device: "torch.device") -> "dict[str, Tensor]":
        """The documents as a keyword of a model on that device; nothing where there are none."""
        return {} if self.documents is None else {"documents": self.documents.to(device)}


class Source(ABC):
    """What a model learns from: sequences to train on, drawn as a pure function of the step, and those to validate on.

    Attributes:
        name: of the corpus, or the task with its options in canonical form.
        sha256: the checksum of the data.
        tokenizer: between text and tokens; None where there is no text.
        lengths: others than the training length at which a trained model is tested.
        settings: the settings of a run that name this data and say how it is read.
        metric: by what models that learned from it are compared.
        unit: of the loss.
        writes_text: whether a model that learned from it continues a text.
    """

    metric: ClassVar[Metric] = "loss"
    unit: ClassVar[str] = "nats per token"
    writes_text: ClassVar[bool] = False

    name: str
    sha256: str
    tokenizer: "Tokenizer | None"
    lengths: tuple[int, ...] = ()
    settings: "Mapping[str, Any]"

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """How many tokens there are."""

    @abstractmethod
    def check_context(self, context: int) -> None:
        """Refuse a training length that cannot be.

        Raises:
            UsageError: with what would do.
        """

    @abstractmethod
    def draw(self, *, context: int, batch: int, step: int, seed: int = 0) -> Batch:
        """Sequences to train on, a pure function of the arguments.

        Args:
            context: tokens of each.
            batch: how many.
            step: other steps give other sequences.
            seed: so do other seeds.
        """

    @abstractmethod
    def validation_batches(self, *, context: int, batch: int, limit: int | None = None) -> Iterator[Batch]:
        """Sequences to measure on, always the same.

        Args:
            context: tokens of each.
            batch: sequences at a time; the last time there may be fewer.
            limit: about so many tokens; None for all.
        """

    def guess_levels(self, lengths: Sequence[int]) -> dict[str, dict[str, float]]:  # noqa: ARG002 - a text has none
        """The accuracy of guesses at each of these lengths, and by each slice at the last; empty for a text."""
        return {}

    def unigram_loss(self, *, context: int, limit: int | None = None) -> float | None:  # noqa: ARG002
        """The validation loss of a model that knows the frequency of each token alone; None where it is unknown."""
        return None

    def bits_per_byte(self, loss: float) -> float:  # noqa: ARG002 - only a text has bytes
        """A validation loss that does not depend on the tokenizer; NaN where there is no such thing."""
        return math.nan

    def sample(self, model: "Backbone", *, tokens: int, seed: int) -> str:  # noqa: ARG002 - nothing to be seen
        """A glimpse of what a model does: text that it writes or fills in, or an example with its predictions.

        Empty if there is nothing to show.

        Args:
            model: in training mode, before and after.
            tokens: about how many.
            seed: the same one gives the same text.
        """
        return ""

    def readout(self, dim: int) -> "nn.Module | None":  # noqa: ARG002 - only some tasks have one
        """What stands between the stream of width d and the unembedding, if anything does."""
        return None
