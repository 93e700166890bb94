"""What a model was built from, so that it can be built again."""

from dataclasses import dataclass

from zoo.plugin.classes import Layers, Member


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `zoo.build_model` was asked for, by the names of its parameters.

    Classes are kept as they were given: under which names they are registered may still change.
    """

    pattern: Layers
    layers: int | None
    dim: int
    heads: int
    context: int
    channel_mixer: Member
    residual: Member
    positions: str
    dropout: float
    tie_embeddings: bool
