"""A pretrained model of a local folder as a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import zoo
from zoo.data.tokenize import make_tokenizer
from zoo.errors import UsageError, ZooError
from zoo.files.strict_json import from_json
from zoo.model.backbone import Backbone
from zoo.model.parameters import count_parameters
from zoo.plugin.pattern import Call
from zoo_transformers.architectures import Converted, check_known, convert
from zoo_transformers.quiet import quiet

_CONTEXT = 1024
"""Tokens of a sequence that is inspected, where the model takes more."""

_TOKENS = 64
"""Tokens of which both models are asked for their predictions."""

_TOLERANCE = 1e-4
"""Relative to the largest logit, or to one."""


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Attributes:
        path: the folder of the run.
        difference: the largest one of two logits, of the pretrained model and of the run.
        notes: what the user should know, one line each.
    """

    path: Path
    difference: float
    notes: tuple[str, ...]


def import_folder(
    folder: Path, out: Path | None = None, *, data: str | None = None, context: int | None = None
) -> Imported:
    """Make a run of a checkpoint of transformers, which predicts the same. The run appears whole or not at all.

    Args:
        folder: with ``config.json``, the weights, and ``tokenizer.json`` if there is a tokenizer.
        out: of the run, not there yet; None makes a new one in ``runs/``.
        data: a text for `zoo inspect` to measure on, see `zoo.load_data`.
        context: tokens of a sequence that is inspected; None for what the model takes, up to 1,024.

    Raises:
        UsageError: no checkpoint, an architecture that no part of the zoo has, a tokenizer of another model, or `out`
            exists.
        ZooError: the run cannot be written, or predicts something else.
    """
    _check_checkpoint(folder)
    if out is not None and out.exists():
        raise UsageError(f"{out} exists: choose another folder with `out`; nothing was imported")
    with quiet():
        theirs = _load(folder)
    converted = convert(theirs.config, theirs.state_dict())
    model = _build(converted, context)
    difference = _compare(theirs, model)
    spec, note = _tokenizer_spec(folder, model.vocabulary)
    if data is None:
        path = zoo.save_run(model, out, tokenizer=make_tokenizer(spec, "", ""))
    else:
        path = zoo.save_run(model, out, data=zoo.load_data(data, tokenizer=spec))
    about = f"{count_parameters(model):,} parameters; logits differ by {difference:.1e} at most"
    return Imported(path, difference, (about, *([note] if note else [])))


def _check_checkpoint(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: name one that save_pretrained wrote")
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder} is no checkpoint: it holds no config.json; name a folder that save_pretrained wrote"
        )
    try:
        config = from_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'config.json'} cannot be read: {error}") from None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type is None:
        raise UsageError(f"{folder} is no checkpoint of transformers: its config.json names no model_type")
    check_known(model_type)


def _load(folder: Path) -> PreTrainedModel:
    """The model of transformers, in float32."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # transformers and safetensors raise whatever they meet
        raise UsageError(f"{folder} cannot be loaded: {' '.join(str(error).split())[:200]}") from None
    model, info = loaded
    if missing := sorted(info["missing_keys"]):
        raise UsageError(f"{folder} lacks weights, e.g. {missing[0]}: put back a good copy")
    return cast(PreTrainedModel, model).eval()


def _build(converted: Converted, context: int | None) -> Backbone:
    built_with = dict(converted.built_with)
    learned = built_with.get("positions") == "learned"
    if context is not None and not (context == converted.reach if learned else 1 <= context <= converted.reach):
        expected = f"expected {converted.reach}" if learned else f"expected from 1 to {converted.reach}"
        raise UsageError(f"`context`={context} does not fit the model: {expected}")
    length = converted.reach if learned else context or min(converted.reach, _CONTEXT)
    model = zoo.build_model(built_with.pop("pattern"), context=length, **built_with)
    model.load_state_dict(dict(converted.tensors))
    return model.eval()


def _compare(theirs: PreTrainedModel, ours: Backbone) -> float:
    """The largest difference of logits.

    Raises:
        ZooError: it is more than rounding.
    """
    count = min(_TOKENS, ours.context)
    tokens = torch.randint(ours.vocabulary, (1, count), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = theirs(tokens).logits, ours(tokens).logits
    difference = (expected - found).abs().max().item()
    if not difference <= _TOLERANCE * max(1.0, expected.abs().max().item()):
        raise ZooError(f"the model predicts something else in the zoo, by {difference:.1e}: nothing was imported")
    return difference


def _tokenizer_spec(folder: Path, vocabulary: int) -> tuple[str, str]:
    """What names the tokenizer of a checkpoint, and what the user should know of it."""
    file = (folder / "tokenizer.json").absolute()
    if not file.is_file():
        note = "it has no tokenizer.json: texts are token numbers, such as `zoo generate RUN --prompt '12 7'`"
        return str(Call("token-ids", (("vocab_size", vocabulary),))), note
    return str(Call("checkpoint", (("path", str(file)), ("vocab_size", vocabulary)))), ""
