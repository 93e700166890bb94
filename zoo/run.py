"""A finished or unfinished run, loaded to be used: its model, its tokenizer, its text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zoo.data.load import create_task, task_call
from zoo.data.tokenize import tokenizer_from_json
from zoo.errors import UsageError
from zoo.model.backbone import Backbone
from zoo.model.generate import sample_tokens
from zoo.model.precision import check_precision, round_weights
from zoo.model.shared import load_state_tensors
from zoo.model.texts import Continuation, continue_texts, decode_stream, encode_prompt
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
        tokenizer = self._writing_tokenizer()
        ids = encode_prompt(tokenizer, prompt).to(next(self.model.parameters()).device)
        sampled = sample_tokens(
            self.model,
            ids[None],
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        return decode_stream(tokenizer, sampled)

    def generate_many(
        self,
        prompts: Sequence[str],
        *,
        samples: int = 1,
        batch: int = 16,
        tokens: int = 256,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[Continuation]:
        """Continue many prompts, side by side: yields each text once its batch is finished.

        Args:
            prompts, samples, batch, tokens, temperature, top_k, top_p, seed: see `zoo.model.texts.continue_texts`.

        Raises:
            UsageError: as `generate`, and which prompt has characters that the tokenizer does not know.
        """
        return continue_texts(
            self.model,
            self._writing_tokenizer(),
            prompts,
            samples=samples,
            batch=batch,
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )

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

    def _writing_tokenizer(self) -> Tokenizer:
        """The tokenizer, of a model that can continue a text."""
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
        return self.tokenizer


def load_run(
    path: str | Path,
    *,
    device: str = "cpu",
    allow_changed: bool = False,
    ema: bool = False,
    precision: str = "fp32",
) -> Run:
    """Load a run from its directory, with the newest checkpoint whose files are sound.

    Args:
        path: of the directory.
        device: where the model goes.
        allow_changed: load it although a plugin file that it used has changed since.
        ema: take the average of the weights in their place, of a run with the setting ``ema``.
        precision: ``"fp32"``, or ``"bf16"`` to round the large matrices to bfloat16, so that a token reads half as
            much. It is for continuing texts, not for training.

    Raises:
        UsageError: no run there, no sound checkpoint, no average, a plugin file that was not passed or has changed, or
            another precision.
        PluginError: a plugin that the run used is missing or broken; the text says which distribution to install.
    """
    check_precision(precision)
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
    round_weights(model, precision)
    damaged = [f"checkpoint {path.name} is damaged ({reason})" for path, reason in checkpoint.rejected]
    return Run(directory.path, settings, model.eval(), tokenizer, checkpoint.step, (*damaged, *changed.values()))
