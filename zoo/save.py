"""A model that was trained in a loop of the user's own, saved as a run."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.data.source import Source
from zoo.data.tokenize import tokenizer_as_json
from zoo.errors import UsageError
from zoo.files.atomic import cannot_make, sync_folder, writing
from zoo.files.environment import describe_environment
from zoo.model.backbone import Backbone
from zoo.model.generate import evaluating, unwrapped
from zoo.model.hybrids import write_out
from zoo.model.shared import state_tensors
from zoo.plugin.catalogue import Catalogue
from zoo.plugin.classes import ClassNames
from zoo.plugin.files import class_name
from zoo.plugin.kinds import CHANNEL_MIXER, MIXER, RESIDUAL, TOKENIZER
from zoo.plugin.registry import get_registry
from zoo.run import load_run
from zoo.tokenizer import Tokenizer
from zoo.train.checkpoint import save_checkpoint
from zoo.train.find_data import text_path
from zoo.train.plugins import plugins_of
from zoo.train.run_directory import SAVED_BY, RunDirectory, run_name
from zoo.train.settings import validate
from zoo.train.verify import MisfitError

_TOKENS = 16
"""Tokens of which the saved model is asked whether it predicts what the model predicts."""

_TOLERANCE = 1e-3
"""Relative to the largest logit: the two are the same up to rounding, or differ in what was not saved."""


def save_run(
    model: nn.Module,
    folder: str | Path | None = None,
    *,
    data: Source | None = None,
    tokenizer: Tokenizer | None = None,
    step: int = 0,
) -> Path:
    """Save a model of `zoo.build_model`, trained in whatever way, as the folder of a run.

    `zoo.load_run`, ``zoo generate`` and ``zoo inspect`` open it like a run of ``zoo train``. It holds no state of
    an optimizer, so that ``zoo train --resume`` refuses it. The folder appears whole or not at all.

    Args:
        model: a `Backbone`, compiled or not.
        folder: of the run; not there yet, or empty. None makes a new one in ``runs/``, as ``zoo train`` does.
        data: what the model was trained on, as `zoo.load_data` gave it. The tokenizer of a text is saved as well.
        tokenizer: where there is no `data`: what its texts were encoded with, of a registered class.
        step: how many updates the parameters have had, for the record.

    Returns:
        The folder.

    Raises:
        UsageError: something is in the folder, the model cannot be built again from names, or a tokenizer that does not
            fit it.
        ZooError: the folder cannot be written.
    """
    model = unwrapped(model)
    if step < 0:
        raise UsageError(f"step={step} should be 0 or more")
    read_with = _tokenizer_of(model, data, tokenizer)
    config = _model_settings(model) | _data_settings(data, read_with)
    settings = validate(config)
    folder = (Path(folder) if folder is not None else _new_folder(settings.mixer, config)).expanduser().absolute()
    environment = describe_environment(
        plugins=plugins_of(settings, with_optimizer=False),
        data_sha256="" if data is None else data.sha256,
        device=str(model.embedding.weight.device),
    )
    environment |= {"data_path": None if data is None else text_path(settings.data), SAVED_BY: "zoo.save_run"}
    with _staged(folder) as run:
        run.write_environment(environment)
        if read_with is not None:
            run.write_tokenizer(tokenizer_as_json(read_with) | {"name": settings.tokenizer_call.name})
        run.append_event("saved", step=step)
        run.write_config(config)
        save_checkpoint(run.checkpoints, step, tensors={"model": state_tensors(model)}, progress={}, keep=None)
        _check_saved(run, model, read_with)
    return folder


def _new_folder(mixer: str, config: dict[str, Any]) -> Path:
    name = run_name(mixer, config)
    names = (name, *(f"{name}-{number}" for number in range(2, 1000)))  # of the same model, saved in the same second
    return next(Path("runs") / free for free in names if not (Path("runs") / free).exists())


def _model_settings(model: Backbone) -> dict[str, Any]:
    """The settings that build the model again, in which every class goes by the name that it is registered under."""
    recipe = model.recipe
    if recipe is None:
        raise UsageError(
            "the model was put together by hand, and a run has to say how to build it again: build it with "
            "zoo.build_model, or keep its state_dict() with torch.save"
        )
    names = ClassNames(get_registry(), redefined=True)  # whether it is still the same, `_check_saved` finds out
    pattern, layers = write_out(names.pattern(recipe.pattern), recipe.layers, names.registry)
    channel_mixer, residual = (
        names.call(recipe.channel_mixer, CHANNEL_MIXER, MIXER),
        names.call(recipe.residual, RESIDUAL),
    )
    for name, cls in names.unregistered.items():
        raise UsageError(_register_first(name, cls))
    kept = ("dim", "heads", "context", "positions", "dropout", "tie_embeddings")
    return {
        "mixer": str(pattern),
        "channel_mixer": str(channel_mixer),
        "residual": str(residual),
        **{name: getattr(recipe, name) for name in kept},
        "layers": layers,
    }


def _register_first(name: str, cls: type[Any]) -> str:
    return (
        f"{cls.__name__} is not registered, and a run names its parts: call zoo.register({name!r}, {cls.__name__}), "
        "then save the same model again"
    )


def _tokenizer_of(model: Backbone, data: Source | None, tokenizer: Tokenizer | None) -> Tokenizer | None:
    """What text is encoded with; None for a task."""
    if data is not None and not isinstance(data, Source):
        raise UsageError(f"data should be what zoo.load_data gives, not {type(data).__name__}")
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        raise UsageError(f"tokenizer should be an instance of zoo.Tokenizer, not {type(tokenizer).__name__}")
    if (data is None) == (tokenizer is None):
        raise UsageError("pass either data, what zoo.load_data gave, or the tokenizer of the model")
    found = tokenizer if data is None else data.tokenizer
    size = found.vocab_size if found is not None else data.vocab_size if data is not None else 0
    if size == 0:
        raise UsageError(f"the {type(found).__name__} has no tokens yet: fit it to a text first")
    if size != model.vocabulary:
        raise UsageError(
            f"the model has {model.vocabulary} tokens and its data has {size}: pass those with which it was trained"
        )
    return found


def _data_settings(data: Source | None, tokenizer: Tokenizer | None) -> dict[str, Any]:
    if data is not None:
        return dict(data.settings)
    tokenizers: Catalogue[Tokenizer] = get_registry()[TOKENIZER]
    for entry in tokenizers.entries:
        if entry.cls is type(tokenizer):
            return {"data": "", "tokenizer": tokenizers.display_name(entry)}
    raise UsageError(_register_first(class_name(type(tokenizer)), type(tokenizer)))


@contextmanager
def _staged(folder: Path) -> Iterator[RunDirectory]:
    """A folder beside the place of a run, which is moved there when all of it is written."""
    _check_free(folder)
    staging = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise cannot_make("run directory", folder, error, hint="choose another folder") from None
    try:
        yield RunDirectory(staging)
        with writing(folder):
            with suppress(FileNotFoundError):
                folder.rmdir()  # which an empty one is only; nothing that was put there meanwhile is lost
            staging.rename(folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_free(folder: Path) -> None:
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} exists: choose another folder, or none for a new one in runs/; nothing was saved")


def _check_saved(run: RunDirectory, model: Backbone, tokenizer: Tokenizer | None) -> None:
    """Refuse a run that is something else than the model when it is loaded."""
    try:
        loaded = load_run(run.path)
    except MisfitError as misfit:
        raise UsageError(f"the model is not what zoo.build_model built any more: {misfit.cause}") from None
    if tokenizer is not None and (loaded.tokenizer is None or loaded.tokenizer.pieces != tokenizer.pieces):
        raise UsageError(f"{type(tokenizer).__name__}.from_json makes another tokenizer of what its to_json gives")
    weight = model.embedding.weight
    tokens = torch.arange(min(_TOKENS, model.context, model.max_length or _TOKENS), device=weight.device)[None]
    with torch.inference_mode(), evaluating(model):
        expected = model(tokens % model.vocabulary).logits
        found = loaded.model.to(weight.device, weight.dtype)(tokens % model.vocabulary).logits
    allowed = _TOLERANCE * expected.abs().nan_to_num().max().item()
    if not torch.allclose(expected, found, rtol=0, atol=allowed, equal_nan=True):
        raise UsageError(
            "the model predicts something else when it is built again and loaded: a part of it or a class was changed, "
            "or a part holds numbers that are neither a parameter nor a buffer of its state_dict()"
        )
