"""The configuration of an exported model."""

from typing import Any

from transformers import PreTrainedConfig

BUILT_WITH = (
    "mixer",
    "channel_mixer",
    "residual",
    "layers",
    "dim",
    "heads",
    "context",
    "positions",
    "dropout",
    "tie_embeddings",
)
"""The settings of a run that say how its model is built, by the names that `zoo.build_model` has for them, but for the
pattern, which is ``mixer`` here."""


class ZooConfig(PreTrainedConfig):
    """How a model of the mixer zoo is built again.

    Attributes:
        settings: of the run, those of `BUILT_WITH`, with every option of its parts written out.
        vocab_size: how many tokens there are.
        plugins: what gives each part: its distribution, version and source code, as a run records them.
        trained_on: the data, its checksum, the step and the version of the zoo, for the record.
    """

    model_type = "mixer-zoo"
    keys_to_ignore_at_inference = ("cache", "past_key_values")

    settings: dict[str, Any] | None = None
    vocab_size: int | None = None
    plugins: dict[str, Any] | None = None
    trained_on: dict[str, Any] | None = None
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    use_cache: bool = True
    tie_word_embeddings: bool = False
    """The zoo ties by itself: it has one matrix or two, and transformers has nothing to tie."""
