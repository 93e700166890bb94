"""A whole model, seen as a mixer: causality, streaming and the like are laws of the whole as of its parts."""

from torch import Tensor

from zoo.contract import Mixed, State, TokenMixer
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.parts import parts_of

VOCABULARY = 11


class WholeModel(TokenMixer):
    """A language model as a mixer that reads tokens, ``(b, t)``, and writes logits, ``(b, t, vocabulary)``."""

    def __init__(self, model: Backbone) -> None:
        super().__init__()
        for part in parts_of(model):
            if not getattr(part.module, "causal", True):
                raise UsageError(f"{part.label} is not causal: check it by itself, and not in a model")
        self.model = model
        self.max_length = model.max_length

    def forward(self, x: Tensor, **host: Tensor) -> Mixed:
        """The logits for whole sequences of tokens, and the mixers' losses and metrics.

        Args:
            x: tokens, ``(b, t)``.
            host: what the model takes beside them, ``documents``.
        """
        logits, _, losses, metrics = self.model(x, **host)
        return Mixed(logits, losses, metrics)

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits for the next tokens."""
        return self.model.step(x, state)
