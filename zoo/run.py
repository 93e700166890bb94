"""A finished or unfinished run, loaded to be used: its model, its tokenizer, its text."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from zoo.data.load import create_task, task_call
from zoo.data.tokenize import tokenizer_from_json
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.faults import explaining
from zoo.model.generate import sample_tokens
from zoo.model.shared import load_state_tensors
from zoo.tokenizer import Tokenizer
from zoo.train.average import with_average
from zoo.train.checkpoint import load_checkpoint
from zoo.train.plugins import check_plugins, recorded_plugins, with_recorded_origins
from zoo.train.run_directory import RunDirectory
from zoo.train.session import model_of
from zoo.train.settings import Settings, validate
from zoo.train.verify import fitting


@dataclass(frozen=True)
class Run:
    """A trained model with what it needs to speak.

    Attributes:
        model: in evaluation mode.
        tokenizer: None if it learned a task and not a text.
        step: how many updates the loaded checkpoint has seen.
        warnings: what the user should know, e.g. that the newest checkpoint was damaged, or that a mixer has changed.
    """

    path: Path
    settings: Settings = field(repr=False)
    model: Backbone = field(repr=False)
    tokenizer: Tokenizer | None = field(repr=False)
    step: int
    warnings: tuple[str, ...] = ()

    def generate(
        self,
        prompt: str,
        *,
        tokens: int = 256,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """Continue a prompt: yields text as it is sampled, in pieces that join to the continuation.

        Args:
            prompt: an empty one starts with the tokenizer's first token.
            tokens, temperature, top_k, top_p, seed: see `zoo.model.generate.sample_tokens`.

        Raises:
            UsageError: a value out of range, characters that the tokenizer does not know, or a model that learned a
                task, or to fill in masked tokens.
        """
        if self.tokenizer is None:
            raise UsageError(
                f"{self.path} learned the task {self.settings.data} and not a text, so it cannot write one; what it "
                "predicts is in samples.txt there"
            )
        if not self.settings.text_objective.causal:
            raise UsageError(
                f"{self.path} learned to fill in masked tokens and cannot continue a text; what it fills in is in "
                "samples.txt there"
            )
        ids = [int(token) for token in self.tokenizer.encode(prompt)] or [0]
        device = next(self.model.parameters()).device
        sampled = sample_tokens(
            self.model,
            torch.tensor([ids], device=device),
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        return _decoded(self.tokenizer, sampled)

    def sample(
        self,
        prompt: str = "\n",
        *,
        tokens: int = 256,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """A prompt and its continuation.

        Args:
            prompt, tokens, temperature, top_k, top_p, seed: as for `generate`.

        Raises:
            UsageError: as `generate`.
        """
        pieces = self.generate(prompt, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        return prompt + "".join(pieces)


def load_run(path: str | Path, *, device: str = "cpu", allow_changed: bool = False, ema: bool = False) -> Run:
    """Load a run from its directory, with the newest checkpoint whose files are sound.

    Args:
        path: of the directory.
        device: where the model goes.
        allow_changed: load it although a plugin file that it used has changed since.
        ema: take the average of the weights in their place, of a run with the setting ``ema``.

    Raises:
        UsageError: no run there, no sound checkpoint, no average, or a plugin file that was not passed or has changed.
        PluginError: a plugin that the run used is missing or broken; the text says which distribution to install.
    """
    directory = RunDirectory.open(Path(path))
    settings = validate(directory.config)
    if ema and settings.ema is None:
        raise UsageError(f"{path} kept no average of its weights: train with the setting `ema`, e.g. 0.999")
    changed = check_plugins(recorded_plugins(directory), allow_changed=allow_changed)
    registry = with_recorded_origins(directory.environment)
    tokenizer = None
    call = None if directory.learned_text else task_call(settings.data, registry)
    if call is not None:
        task = create_task(call, registry)
        model = model_of(settings, registry, vocab_size=task.vocab_size, make_readout=task.readout)
    else:
        tokenizer = tokenizer_from_json(directory.tokenizer, registry)
        extra = settings.text_objective.extra_tokens
        model = model_of(settings, registry, vocab_size=tokenizer.vocab_size + extra)
    model.to(device)
    checkpoint = load_checkpoint(directory.checkpoints, device=device)
    with fitting():
        load_state_tensors(model, with_average(checkpoint.tensors) if ema else checkpoint.tensors["model"])
    damaged = [f"checkpoint {path.name} is damaged ({reason})" for path, reason in checkpoint.rejected]
    return Run(directory.path, settings, model.eval(), tokenizer, checkpoint.step, (*damaged, *changed.values()))


def _decoded(tokenizer: Tokenizer, sampled: Iterator[torch.Tensor]) -> Iterator[str]:
    decoder = tokenizer.decoder()
    while True:
        with explaining():
            token = next(sampled, None)
        if token is None:
            break
        yield decoder.feed(int(token))
    yield decoder.flush()
