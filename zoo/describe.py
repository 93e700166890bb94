"""What there is to know of the registered mixers and plugins, as plain data that a machine can read."""

import inspect
import re
import textwrap
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.build import count_active_parameters, count_parameters, create_mixer
from zoo.contract import TokenMixer
from zoo.errors import PluginError, ZooError
from zoo.options import REQUIRED, Option
from zoo.pattern import Call
from zoo.registry import MixerEntry, Plugin, Registry
from zoo.testing.traits import Traits, measure_traits

STATE_LENGTHS = (1, 64, 1024)
"""Tokens after which `describe_mixer` measures the streaming state."""

_HEADER = re.compile(r"(Options|Cost|Raises|Errors|Source|Sources):[ \t]*\n?")
_SECTION = {"": "text", "Raises": "errors", "Errors": "errors", "Cost": "cost", "Source": "source", "Sources": "source"}


def list_entries(registry: Registry, glob: str = "*") -> list[dict[str, Any]]:
    """The mixers whose name matches, in natural order: name, summary, causal, paper, options, origin."""
    return [_entry(entry, registry) for entry in registry.mixers.list(glob)]


def list_plugins(registry: Registry) -> list[dict[str, Any]]:
    """Every plugin that was found: origin, file, mixers, tasks, status, error, traceback."""
    return [_plugin(plugin) for plugin in registry.plugins]


def describe_mixer(call: Call, *, dim: int, heads: int, registry: Registry) -> dict[str, Any]:
    """Everything about one mixer, built with the options of the call.

    Args:
        call: a name, with options if any.
        dim: the model width at which parameters and state are counted.
        heads: likewise, where the call sets none.
        registry: where to look.

    Returns:
        What `list_entries` says of it, the parts of its docstring, its parameters, its measured traits and, if it is
        causal, how many numbers its streaming state holds for one sequence after 1, 64 and 1024 tokens.

    Raises:
        UsageError: an unknown name or option, or a value that the mixer refuses.
        PluginError: the mixer's plugin is broken, or the mixer itself fails.
    """
    entry = registry.mixers.find(call.name)
    mixer = create_mixer(call, dim=dim, heads=heads, registry=registry).eval()
    return {
        **_entry(entry, registry),
        **parse_doc(entry.doc),
        "origin": {**_origin(entry), "file": _file(entry)},
        "call": str(call),
        "dim": dim,
        "heads": call.keywords.get("heads", heads) if "heads" in {o.name for o in entry.options} else None,
        "parameters": count_parameters(mixer),
        "active_parameters": count_active_parameters(mixer),
        "state": measure_state(mixer, entry, dim) if mixer.causal else None,
        "traits": vars(_measured(mixer, entry, dim)),
    }


def measure_state(mixer: TokenMixer, entry: MixerEntry, dim: int) -> dict[int, int]:
    """How many numbers the state of one sequence holds, by the tokens it has seen, no more than the mixer takes.

    Raises:
        PluginError: the mixer fails to step.
    """
    generator = torch.Generator().manual_seed(0)
    state, seen, sizes = None, 0, {}
    longest = mixer.max_length or STATE_LENGTHS[-1]
    for length in sorted({min(length, longest) for length in STATE_LENGTHS}):
        reads = torch.randn(1, length - seen, dim, generator=generator)
        try:
            with torch.no_grad():
                _, state = mixer.step(reads, state)
        except ZooError:
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise PluginError(f"{entry.name}, from {entry.origin}, failed to step: {cause}") from error
        sizes[length] = sum(leaf.numel() for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
        seen = length
    return sizes


def _measured(mixer: TokenMixer, entry: MixerEntry, dim: int) -> Traits:
    try:
        return measure_traits(mixer, dim)
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(f"{entry.name}, from {entry.origin}, cannot be measured: {cause}") from error


def parse_doc(doc: str) -> dict[str, str]:
    """The parts of a mixer's docstring: summary, equation, text, cost, errors and source; empty where it has none.

    The equation is what is indented before the first section, the text what stands there and is not. The options
    are left out: they have a table of their own.
    """
    first, *blocks = re.split(r"\n(?:[ \t]*\n)+", doc)
    parts: defaultdict[str, list[str]] = defaultdict(list)
    section = ""
    for block in blocks:
        header = _HEADER.match(block)
        indented = block.startswith((" ", "\t"))
        if header:
            section = header[1]
        elif not indented:
            section = ""
        body = textwrap.dedent(block[header.end() :] if header else block)
        parts["equation" if indented and not section else _SECTION.get(section, "")].append(body.strip("\n"))
    names = ("equation", "text", "cost", "errors", "source")
    return {"summary": " ".join(first.split())} | {name: "\n\n".join(parts[name]) for name in names}


def _entry(entry: MixerEntry, registry: Registry) -> dict[str, Any]:
    return {
        "name": registry.mixers.display_name(entry),
        "summary": entry.summary,
        "causal": entry.cls.causal,
        "paper": entry.cls.paper,
        "options": [_option(option) for option in entry.options],
        "origin": _origin(entry),
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type_text,
        "default": None if option.default is REQUIRED else _plain(option.default),
        "required": option.required,
        "meaning": option.meaning,
    }


def _plain(value: Any) -> Any:
    """A default as JSON has it, or as Python writes it."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or type(value) in (bool, int, float, str) else repr(value)


def _origin(entry: MixerEntry) -> dict[str, str]:
    origin = entry.origin
    return {"distribution": origin.distribution, "version": origin.version, "entry_point": origin.entry_point}


def _file(entry: MixerEntry) -> str | None:
    """Where the class is written; of one that was made on the fly, where its plugin is."""
    try:
        return inspect.getsourcefile(entry.cls)
    except (OSError, TypeError):
        return entry.origin.file


def _plugin(plugin: Plugin) -> dict[str, Any]:
    origin = plugin.origin
    return {
        "distribution": origin.distribution,
        "version": origin.version,
        "entry_point": origin.entry_point,
        "file": origin.file,
        "mixers": [entry.name for entry in plugin.mixers],
        "tasks": [entry.name for entry in plugin.tasks],
        "status": "broken" if plugin.error else "ok",
        "error": plugin.error,
        "traceback": plugin.traceback,
    }
