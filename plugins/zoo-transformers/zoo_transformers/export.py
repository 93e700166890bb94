"""A run as a folder that transformers loads."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

import zoo
from zoo.data.load import task_call
from zoo.data.text import corpus_call
from zoo.errors import UsageError, ZooError
from zoo.files.atomic import cannot_make, sync_folder, writing
from zoo.files.environment import describe_environment
from zoo.model.backbone import Backbone
from zoo.model.members import find_channel_mixer
from zoo.plugin.kinds import MIXER, RESIDUAL
from zoo.plugin.options import FILLED_BY_HOST, REQUIRED
from zoo.plugin.pattern import Call, Layer, Pattern, Repeat, parse
from zoo.plugin.registry import Entry, Registry
from zoo.run import Run
from zoo.tokenizer import Tokenizer
from zoo.train.plugins import check_plugins, plain_name, plugins_of, recorded_plugins, with_recorded_origins
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings, validate
from zoo_transformers.card import write_card
from zoo_transformers.configuration import BUILT_WITH, ZooConfig
from zoo_transformers.modeling import ZooForCausalLM
from zoo_transformers.quiet import quiet
from zoo_transformers.tokenization import fast_tokenizer

_FOLDERS = re.compile(r"""[^\s'"=,(]*[/\\]""")
"""Of the paths within a mixture of texts."""

_TOKENS = 32
"""Tokens of which an exported model is asked whether it predicts what the run predicts."""


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Attributes:
        folder: what was written; None if it was only pushed.
        url: of the repository; None if it was not pushed.
        warnings: what the user should know.
    """

    folder: Path | None
    url: str | None
    warnings: tuple[str, ...]


def export_run(
    run: Path, out: Path | None = None, *, push: str | None = None, allow_changed: bool = False, ema: bool = False
) -> Exported:
    """Write a run as a model of transformers. The folder appears whole or not at all.

    Args:
        run: the folder of the run.
        out: the folder to write, not there yet; None writes none.
        push: the repository of the hub to push it to; None pushes nothing. A new one is private.
        allow_changed: export although a plugin is not the one that the run was trained with.
        ema: export the average of the weights, of a run with the setting ``ema``.

    Raises:
        UsageError: a run that does not continue texts, another version of a plugin, a part that is not installed, a
            tokenizer without a form in transformers, or `out` exists.
        PluginError: a plugin that the run used is missing or broken.
        ZooError: nothing can be written, or not pushed.
    """
    directory = RunDirectory.open(run)
    settings = validate(directory.config)
    changed = _check_exportable(directory, settings, allow_changed=allow_changed)
    out = out and out.expanduser()
    if out is not None and os.path.lexists(out):
        raise UsageError(f"{out} exists: choose another folder with `out`; nothing was exported")
    loaded = zoo.load_run(run, allow_changed=allow_changed, ema=ema)
    assert loaded.tokenizer is not None  # as the run learned a text
    tokens, expected = _predictions(loaded.model)  # before anything of transformers has touched the model
    tokenizer, url = fast_tokenizer(loaded.tokenizer), None
    with _folder(out) as staging, quiet():
        model = ZooForCausalLM(_config(directory, loaded), backbone=loaded.model).eval()
        with writing(out or staging):
            model.save_pretrained(staging)
            if tokenizer is not None:
                tokenizer.save_pretrained(staging)
        place = push or Path(out or ".").absolute().name
        write_card(staging / "README.md", directory, loaded, model.config, place=place, ema=ema)
        _check_exported(staging, tokens, expected)
        _check_tokenizer(tokenizer, loaded.tokenizer, tokens[0].tolist())
        if out is None and push is not None:
            url = _push(staging, push)
    if out is not None and push is not None:
        url = _push(out, push, kept=f"{out} was written; ")
    return Exported(out, url, tuple(dict.fromkeys((*loaded.warnings, *changed))))


def _check_exportable(directory: RunDirectory, settings: Settings, *, allow_changed: bool) -> tuple[str, ...]:
    """Refuse a run that is no language model, or that nobody else could load; what has changed, if that is allowed."""
    if not directory.learned_text:
        raise UsageError(f"{directory.path} learned the task {settings.data} and not a text: export a run of a text")
    if not settings.text_objective.causal:
        raise UsageError(f"{directory.path} learned to fill in masked tokens: export a run that continues texts")
    recorded = recorded_plugins(directory)
    changed = check_plugins(recorded, allow_changed=allow_changed)
    if changed and not allow_changed:
        change = next(iter(changed.values()))
        raise UsageError(f"{change}: install what it was trained with, or export it all the same with `allow_changed`")
    for name, record in plugins_of(settings, with_data=False, with_optimizer=False).items():
        if "file" in record or not record["version"]:
            raise UsageError(
                f"{plain_name(name)} comes from {record.get('file', 'this process')}, which nobody else has installed: "
                "make it a plugin with `zoo new-plugin`, train with that, and export the new run"
            )
    return tuple(changed.values())


def _config(directory: RunDirectory, run: Run) -> ZooConfig:
    registry = with_recorded_origins(directory.environment)
    settings, model = run.settings, run.model
    written = {name: getattr(settings, name) for name in BUILT_WITH} | _written_out(settings, registry)
    environment = directory.environment
    reach: dict[str, Any] = {} if model.max_length is None else {"max_position_embeddings": model.max_length}
    return ZooConfig(
        settings=written,
        vocab_size=model.vocabulary,
        plugins=plugins_of(settings, with_data=False, with_optimizer=False),
        trained_on={
            "data": data_name(settings),
            "data_sha256": environment.get("data_sha256", ""),
            "step": run.step,
            "zoo": describe_environment(plugins={}, data_sha256="")["zoo"],
        },
        hidden_size=model.dim,
        num_hidden_layers=len(model.layers),
        num_attention_heads=settings.heads,
        dtype="float32",
        **reach,
    )


def data_name(settings: Settings) -> str:
    """The data without the folders of this machine, in which texts of the user's own lie."""
    if settings.data.lstrip().startswith("mix"):
        return _FOLDERS.sub("", settings.data)
    named = not settings.data or corpus_call(settings.data) is not None or task_call(settings.data) is not None
    return settings.data if named else Path(settings.data).name


def _written_out(settings: Settings, registry: Registry) -> dict[str, str]:
    """The parts of the model with all of their options, so that another default makes no other model later."""

    def with_options(call: Call, entry: Entry[Any]) -> Call:
        given = call.keywords
        defaults = {
            option.name: option.default
            for option in entry.options
            if option.name not in FILLED_BY_HOST and option.default is not REQUIRED
        }
        try:
            return replace(call, options=tuple((defaults | given).items()))
        except UsageError:  # a default that a pattern cannot spell
            return call

    def channel(call: Call) -> Call:
        return with_options(call, find_channel_mixer(call.name, registry))

    def walk(item: Layer | Repeat) -> Layer | Repeat:
        if isinstance(item, Repeat):
            return Repeat(tuple(map(walk, item.items)), item.count)
        mixers = tuple(
            once(call, lambda call: with_options(call, registry[MIXER].find(call.name))) for call in item.mixers
        )
        return Layer(mixers, item.channel and once(item.channel, channel))

    def once(call: Call, written: Callable[[Call], Call]) -> Call:
        """The first place of a label has the options of all, and the others none."""
        if call.label is None or call.label not in labels:
            labels.add(call.label)
            return written(call)
        return call

    labels = set[str | None]()
    residual = settings.residual_call
    written = {
        "channel_mixer": str(channel(settings.channel_mixer_call)),
        "residual": str(with_options(residual, registry[RESIDUAL].find(residual.name))),
    }
    with suppress(UsageError):  # a pattern that would be too long, or the name of a hybrid
        written["mixer"] = str(Pattern(tuple(map(walk, parse(settings.mixer).items))))
    return written


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when all is written; None makes one that is removed."""
    if out is None:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    place = out.absolute()
    staging = place.with_name(f".{place.name}.partial-{uuid4().hex[:8]}")
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise cannot_make("folder", place, error, hint="choose another folder with `out`") from None
    try:
        yield staging
        with writing(place):
            os.rename(staging, place)  # noqa: PTH104 - it never replaces a file, and no folder but an empty one
            sync_folder(place.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _predictions(model: Backbone) -> tuple[Tensor, Tensor]:
    """Some tokens, ``(1, t)``, and the logits of a model for them."""
    tokens = torch.arange(min(_TOKENS, model.max_length or _TOKENS))[None] % model.vocabulary
    with torch.inference_mode():
        return tokens, model(tokens).logits


def _check_exported(folder: Path, tokens: Tensor, expected: Tensor) -> None:
    """Refuse an export that is another model when it is loaded."""
    loaded = ZooForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = loaded(tokens).logits
    if not torch.equal(found, expected):
        raise UsageError(
            "the model predicts something else when transformers loads it: a part holds numbers that are neither "
            "a parameter nor a buffer; `zoo check` names it"
        )


def _check_tokenizer(fast: PreTrainedTokenizerFast | None, tokenizer: Tokenizer, ids: list[int]) -> None:
    """Refuse a tokenizer that cuts or joins another text."""
    text = tokenizer.decode(ids)
    if fast is None or "\N{REPLACEMENT CHARACTER}" in text:
        return
    joined = str(fast.decode(ids)).lstrip(" ") == text.lstrip(" ")  # sentencepiece drops a space in front
    if fast(text)["input_ids"] != tokenizer.encode(text).tolist() or not joined:
        raise UsageError(
            f"the tokenizer {tokenizer.name!r} reads or writes something else in transformers: train with byte, char "
            "or bpe"
        )


def _push(folder: Path, name: str, *, kept: str = "") -> str:
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        url = str(api.create_repo(name, private=True, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Export of the mixer zoo")
    except Exception as error:  # of the network, the account or the name, each of a type of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ZooError(f"cannot push to {name}: {reason[:200]}; {kept}see `hf auth whoami`") from error
    return url
