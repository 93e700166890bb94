"""Fine-tuning: a new run that starts from the weights of another one, with a new optimizer and perhaps other data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.data.source import Source
from zoo.data.tokenize import tokenizer_from_json
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.shared import load_state_tensors
from zoo.plugin.registry import Registry
from zoo.tokenizer import Tokenizer
from zoo.train.average import with_average
from zoo.train.checkpoint import load_checkpoint
from zoo.train.find_data import source_of
from zoo.train.plugins import check_plugins, recorded_plugins
from zoo.train.resolve import read_assignments
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings, modernize, validate
from zoo.train.verify import fitting

OF_THE_MODEL = (
    "mixer",
    "channel_mixer",
    "residual",
    "layers",
    "dim",
    "heads",
    "positions",
    "tie_embeddings",
    "tokenizer",
    "objective",
)
"""Settings that a run takes over with the weights."""

_OF_THE_MACHINE = ("engine", "device", "precision", "threads")
"""Settings that are resolved anew."""


@dataclass(frozen=True)
class Origin:
    """The run from which another one starts.

    Attributes:
        path: of the run.
        step: of its newest sound checkpoint.
        weights: by name, those of that checkpoint or their average.
        tokenizer: with its vocabulary; None if it learned a task.
        notices: what the user should know, e.g. that the newest checkpoint was damaged.
    """

    path: Path
    step: int
    weights: Mapping[str, Tensor]
    tokenizer: Tokenizer | None
    notices: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """What env.json of the new run says of it."""
        return {"run": str(self.path.absolute()), "step": self.step}

    def source(self, settings: Settings, registry: Registry) -> Source:
        """What the settings name, in the tokens that the weights know.

        Raises:
            UsageError: a task for a run that learned a text, a text for one that learned a task, another vocabulary.
        """
        source = source_of(settings, registry, fitted=self.tokenizer)
        if (source.tokenizer is None) != (self.tokenizer is None):
            learned, other = ("a task", "a text") if self.tokenizer is None else ("a text", "a task or tokens")
            raise UsageError(f"{self.path} learned {learned}, and `data`={settings.data} is {other}")
        return source

    def fill(self, model: Backbone, source: Source) -> None:
        """Give the weights to a model.

        Raises:
            UsageError: they do not fit, for other data have another vocabulary, or a longer context more positions.
        """
        with fitting():
            embedding = self.weights["embedding.weight"]
        if len(embedding) != source.vocab_size:
            raise UsageError(
                f"{source.name} has {source.vocab_size} tokens, and {self.path} was trained with {len(embedding)}: "
                "choose data of the same vocabulary"
            )
        with fitting():
            load_state_tensors(model, self.weights)


def read_origin(path: Path, registry: Registry, *, ema: bool = False) -> Origin:
    """The run in a folder, to start from.

    Args:
        path: of the run.
        registry: where its tokenizer is looked up.
        ema: take the average of the weights in their place.

    Raises:
        UsageError: no run there, no sound checkpoint, or no average.
        PluginError: a plugin that the run used is missing or broken.
    """
    run = RunDirectory.open(path)
    if ema and validate(run.config).ema is None:
        raise UsageError(f"{path} kept no average of its weights: leave out `ema`")
    changed = check_plugins(recorded_plugins(run))
    checkpoint = load_checkpoint(run.checkpoints)
    damaged = [f"checkpoint {bad.name} of {path} is damaged ({reason})" for bad, reason in checkpoint.rejected]
    tokenizer = tokenizer_from_json(run.tokenizer, registry) if run.learned_text else None
    weights = with_average(checkpoint.tensors) if ema else checkpoint.tensors["model"]
    return Origin(path, checkpoint.step, weights, tokenizer, (*damaged, *changed.values()))


def settings_from(path: Path, assignments: Iterable[str], flags: Mapping[str, Any]) -> Settings:
    """The settings of a run that starts from another one: those of that run, and over them what is given.

    Raises:
        UsageError: no run there, a setting of the model, or a value that cannot be.
    """
    given = read_assignments(assignments) | {name: value for name, value in flags.items() if value is not None}
    for name in OF_THE_MODEL:
        if name in given:
            raise UsageError(f"a run takes over the model and its tokens with the weights: leave out `{name}`")
    saved = modernize(RunDirectory.open(path).config)
    return validate({name: value for name, value in saved.items() if name not in _OF_THE_MACHINE} | given)
