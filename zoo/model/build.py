"""From a pattern, or from classes, to a language model."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from torch import nn

from zoo.contract import TokenMixer
from zoo.errors import UsageError
from zoo.model.backbone import Backbone, Positions
from zoo.model.hybrids import write_out
from zoo.model.layer import Layer, NamedMixer
from zoo.model.members import create_channel_mixer, create_mixer, create_residual, find_channel_mixer
from zoo.model.recipe import Recipe
from zoo.model.shared import SharedModules
from zoo.model.stack import site_roles
from zoo.plugin import pattern as patterns
from zoo.plugin.classes import ClassNames, Layers, Member
from zoo.plugin.isolation import random_numbers_kept, seed_torch
from zoo.plugin.kinds import CHANNEL_MIXER, MIXER, RESIDUAL
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Registry, get_registry

Module = TypeVar("Module", bound=nn.Module)


def build_model(
    pattern: Layers,
    *,
    vocab_size: int,
    dim: int = 128,
    layers: int | None = None,
    heads: int = 4,
    context: int = 256,
    channel_mixer: Member = "swiglu",
    residual: Member = "pre-norm",
    positions: Positions = "none",
    dropout: float = 0.0,
    tie_embeddings: bool = True,
    readout: nn.Module | None = None,
    registry: Registry | None = None,
) -> Backbone:
    """A model of a pattern of mixers: tokens in, logits for each of them out.

    With causal mixers it is a language model, and its `step` continues a text. With a mixer whose `causal` is False it
    is an encoder: train it to predict masked tokens, as ``zoo train --objective masked`` does, and not the next token,
    which it sees.

    Wherever a name stands, a class may stand, and a class with options: ``functools.partial(Mine, factor=2)``.

    Args:
        pattern: e.g. ``"correlation*3, dot-product"``, see docs/pattern-language.md; the name of a hybrid; or a list of
            layers from the bottom of the stack up, each a class or a pattern: ``[Mine, "dot-product"]``.
        vocab_size: how many tokens there are.
        dim: the model width d.
        layers: the pattern is cycled until so many layers are filled; None takes it once.
        heads: for the mixers whose options set none.
        context: the length of the training sequences.
        channel_mixer: for the layers whose pattern names none; a token mixer may stand here too.
        residual: the residual scheme, how the parts share the stream, see docs/residuals.md.
        positions: ``"none"`` or ``"learned"``.
        dropout: probability, on the embedding and on every write.
        tie_embeddings: whether the unembedding is the embedding, or a matrix of its own.
        readout: what stands between the stream and the unembedding, see `Backbone`.
        registry: where to look for mixers; the installed plugins by default.

    Raises:
        PatternError: a pattern that cannot be read.
        UsageError: sizes, names, classes or options that cannot be, or a mixer that takes fewer tokens than the context
            has.
        PluginError: a mixer's plugin is broken or missing.
    """
    _check_sizes(vocab_size=vocab_size, dim=dim, heads=heads, context=context, layers=layers)
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout={dropout} should be at least 0 and less than 1")
    names = ClassNames(registry or get_registry())
    given = names.pattern(pattern)
    tree, count = write_out(given, layers, names.registry)
    text = pattern if isinstance(pattern, str) and tree is given else None
    rows = _rows(tree, count)
    default_channel = names.call(channel_mixer, CHANNEL_MIXER, MIXER)
    scheme, registry = names.call(residual, RESIDUAL), names.registry
    filled = {"dim": dim, "heads": heads, "layers": len(rows), "context": context}
    parts = _build_parts(rows, default_channel, text, registry, filled)
    built = [Layer(mixers, channel, dropout=dropout) for mixers, channel in parts]
    model = Backbone(
        built,
        create_residual(scheme, dim=dim, layers=len(built), roles=site_roles(built), registry=registry),
        vocabulary=vocab_size,
        dim=dim,
        context=context,
        positions=positions,
        dropout=dropout,
        readout=readout,
        tie_embeddings=tie_embeddings,
    )
    model.recipe = Recipe(
        pattern=tuple(pattern) if isinstance(pattern, list) else pattern,
        layers=layers,
        dim=dim,
        heads=heads,
        context=context,
        channel_mixer=channel_mixer,
        residual=residual,
        positions=positions,
        dropout=dropout,
        tie_embeddings=tie_embeddings,
    )
    return model


def build_seeded(seed: int, build: Callable[[], Module]) -> Module:
    """Build a module whose initial parameters depend on the seed alone. The random numbers of others stay as they were.

    A build that imports something for the first time, e.g. in the ``__init__`` of a mixer, runs code that may draw
    random numbers in the midst of it. Then the module is built once more, as every later build of the process makes it.

    Args:
        seed: of torch's random numbers.
        build: makes the module.
    """
    with random_numbers_kept():
        imported = len(sys.modules)
        seed_torch(seed)
        module = build()
        if len(sys.modules) != imported:
            seed_torch(seed)
            module = build()
    return module


def check_pattern(
    pattern: str,
    *,
    layers: int | None = None,
    channel_mixer: str = "swiglu",
    residual: str = "pre-norm",
    registry: Registry | None = None,
) -> None:
    """Refuse a pattern that no width makes a model of, without building one.

    Args:
        pattern, layers, channel_mixer, residual, registry: as for `build_model`.

    Raises:
        PatternError: a pattern that cannot be read.
        UsageError: a name or an option that there is not, a value of the wrong type, or layers that cut the pattern.
        PluginError: a mixer's plugin is broken or missing.
    """
    registry = registry or get_registry()
    scheme = patterns.parse_call(residual)
    registry[RESIDUAL].find(scheme.name).check(scheme.keywords)
    default = patterns.parse_call(channel_mixer)
    find_channel_mixer(default.name, registry).check(default.keywords)
    for row in _rows(*write_out(patterns.parse(pattern), layers, registry)):
        for call in row.mixers:
            with _pointing_at(call, pattern):
                registry[MIXER].find(call.name).check(call.keywords)
        if row.channel is not None:
            with _pointing_at(row.channel, pattern):
                find_channel_mixer(row.channel.name, registry).check(row.channel.keywords)


def _rows(pattern: patterns.Pattern, layers: int | None) -> tuple[patterns.Layer, ...]:
    if layers is not None and layers < len(pattern.layers()):
        raise UsageError(
            f"layers={layers} would cut a pattern of {len(pattern.layers())} layers; give at least as many"
        )
    return pattern.layers(layers)


def _build_parts(
    rows: Sequence[patterns.Layer],
    default_channel: Call,
    text: str | None,
    registry: Registry | None,
    filled: Mapping[str, int],
) -> Iterator[tuple[list[NamedMixer], nn.Module | None]]:
    """The mixers and the channel mixer of each layer. All places of a label are one module.

    Args:
        rows: what the pattern says of each layer.
        default_channel: for those that name none.
        text: of the pattern, to point at what is wrong; None if it was no text.
        registry: where to look.
        filled: what the host fills in, but for the number of the layer.
    """
    shared = SharedModules()
    for index, row in enumerate(rows):
        here = {**filled, "layer_index": index}
        build = partial(_fitting_mixer, text=text, registry=registry, filled=here)
        mixers = _label([(call, shared.module(call, partial(build, call))) for call in row.mixers])
        call = row.channel or default_channel
        with _pointing_at(call, text if row.channel else None):
            channel = shared.module(call, partial(_fitting_channel_mixer, call, registry=registry, filled=here))
        yield mixers, channel


def _fitting_mixer(call: Call, text: str | None, registry: Registry | None, filled: dict[str, int]) -> TokenMixer:
    with _pointing_at(call, text):
        return _checked(call, create_mixer(call, registry=registry, **filled), filled["context"])


def _checked(call: Call, mixer: TokenMixer, context: int) -> TokenMixer:
    """The mixer, if a model of that context can have it."""
    if mixer.max_length is not None and context > mixer.max_length:
        raise UsageError(
            f"{call.name} takes at most {mixer.max_length} tokens, and the context is {context}: "
            f"choose context={mixer.max_length} or less"
        )
    return mixer


def _fitting_channel_mixer(call: Call, registry: Registry | None, filled: dict[str, int]) -> nn.Module | None:
    channel = create_channel_mixer(call, registry=registry, **filled)
    return _checked(call, channel, filled["context"]) if isinstance(channel, TokenMixer) else channel


def _label(mixers: Sequence[tuple[Call, TokenMixer]]) -> list[NamedMixer]:
    """Label each mixer of a layer with its name, numbered where a name comes again."""
    seen: Counter[str] = Counter()
    labelled = []
    for call, mixer in mixers:
        seen[call.name] += 1
        labelled.append(NamedMixer(call.name if seen[call.name] == 1 else f"{call.name}-{seen[call.name]}", mixer))
    return labelled


@contextmanager
def _pointing_at(call: Call, text: str | None) -> Iterator[None]:
    """Show where in the pattern a mistake lies, if the pattern came as text."""
    try:
        yield
    except UsageError as error:
        if text is None or call.position is None:
            raise
        raise patterns.point_at(text, call.position, str(error)) from error


def _check_sizes(**sizes: int | None) -> None:
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise UsageError(f"{name}={size} should be 1 or more")
