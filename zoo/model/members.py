"""One member of a model, from its name or class: a token mixer, a channel mixer, a residual scheme."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from zoo.contract import TokenMixer
from zoo.errors import UsageError
from zoo.model.create import create
from zoo.plugin.catalogue import Entry
from zoo.plugin.classes import ClassNames, Member
from zoo.plugin.isolation import random_numbers_kept, seed_torch
from zoo.plugin.kinds import CHANNEL_MIXER, MIXER, RESIDUAL
from zoo.plugin.registry import Registry, get_registry
from zoo.residual import Residual


def list_mixers(glob: str = "*") -> list[str]:
    """The names of the registered mixers that match, in natural order."""
    registry = get_registry()
    return [registry[MIXER].display_name(entry) for entry in registry[MIXER].list(glob)]


def create_mixer(
    mixer: Member,
    *,
    dim: int,
    heads: int = 4,
    layer_index: int = 0,
    layers: int = 1,
    context: int = 256,
    registry: Registry | None = None,
) -> TokenMixer:
    """One mixer from its name and options, e.g. ``"correlation(max_lag=3)"``, or from its class.

    Args:
        mixer: a name, with options in parentheses if any; or a class, as for `build_model`.
        dim: the model width d.
        heads, layer_index, layers, context: what the mixer gets for its parameters of these names where the call sets
            none.
        registry: where to look; the installed plugins by default.

    Raises:
        UsageError: an unknown name or option, a value that the mixer refuses, or what is no class of a mixer.
        PluginError: the mixer's plugin is broken, or the mixer itself fails.
    """
    names = ClassNames(registry or get_registry())
    call = names.call(mixer, MIXER)
    entry = names.registry[MIXER].find(call.name)
    filled = {"dim": dim, "heads": heads, "layer_index": layer_index, "layers": layers, "context": context}
    return cast(TokenMixer, create(entry, call.keywords, **filled))


def create_channel_mixer(
    channel_mixer: Member,
    *,
    dim: int,
    heads: int = 4,
    layer_index: int = 0,
    layers: int = 1,
    context: int = 256,
    registry: Registry | None = None,
) -> nn.Module | None:
    """One channel mixer from its name and options, or from its class; None for an empty one.

    The arguments are those of `create_mixer`. Any token mixer may stand in its place.

    Raises:
        UsageError: an unknown name or option, or a value that it refuses.
        PluginError: its plugin is broken, or it fails itself.
    """
    names = ClassNames(registry or get_registry())
    call = names.call(channel_mixer, CHANNEL_MIXER, MIXER)
    entry = find_channel_mixer(call.name, names.registry)
    if getattr(entry.cls, "empty", False):
        entry.check(call.keywords)
        return None
    filled = {"dim": dim, "heads": heads, "layer_index": layer_index, "layers": layers, "context": context}
    return cast(nn.Module, create(entry, call.keywords, **filled))


def find_channel_mixer(name: str, registry: Registry) -> Entry[Any]:
    """The channel mixer of that name, or else the token mixer.

    Raises:
        UsageError: there is neither.
        PluginError: the plugin that should give it is broken or missing.
    """
    try:
        return registry[CHANNEL_MIXER].find(name)
    except UsageError:
        if any(entry.name == name.rpartition(":")[2] for entry in registry[MIXER].entries):
            return registry[MIXER].find(name)
        raise


def create_residual(
    scheme: Member, *, dim: int, layers: int, roles: Sequence[str], registry: Registry | None = None
) -> Residual:
    """A residual scheme. Its random numbers are its own, so that the parts of a model draw the same with any scheme.

    Args:
        scheme: a name, with options in parentheses if any; or a class, as for `create_mixer`.
        dim: the model width d.
        layers: how many there are.
        roles: what stands at each site, ``"token"`` or ``"channel"``.
        registry: where to look; the installed plugins by default.

    Raises:
        UsageError: an unknown name or option, a value that the scheme refuses, or a scheme of other sites.
        PluginError: its plugin is broken, or the scheme itself fails.
    """
    names = ClassNames(registry or get_registry())
    call = names.call(scheme, RESIDUAL)
    entry = names.registry[RESIDUAL].find(call.name)
    with random_numbers_kept():
        seed_torch((torch.initial_seed() + 1) % 2**63)
        filled = {"dim": dim, "sites": len(roles), "layers": layers, "roles": tuple(roles)}
        made = cast(Residual, create(entry, call.keywords, **filled))
    if made.sites != len(roles):
        raise UsageError(f"{entry.name} has sites={made.sites}, and the model has {len(roles)}: pass on `sites`")
    return made
