"""What there is to know of the registered mixers, as plain data that a machine can read."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from zoo.contract import TokenMixer
from zoo.describe.members import describe_entry
from zoo.describe.parts import parse_doc, source_file, tell_origin
from zoo.errors import PluginError, ZooError
from zoo.model.members import create_mixer
from zoo.model.parameters import count_active_parameters, count_parameters
from zoo.model.tracebacks import describe_cause
from zoo.plugin.kinds import MIXER
from zoo.plugin.pattern import Call
from zoo.plugin.registry import Entry, Registry
from zoo.testing.traits import Traits, measure_traits

STATE_LENGTHS = (1, 64, 1024)
"""Tokens after which `describe_mixer` measures the streaming state."""


def describe_mixer(call: Call, *, dim: int, heads: int, registry: Registry) -> dict[str, Any]:
    """Everything about one mixer, built with the options of the call.

    Args:
        call: a name, with options if any.
        dim: the model width at which parameters and state are counted.
        heads: likewise, where the call sets none.
        registry: where to look.

    Returns:
        What `list_members` says of it, whether it is causal, the parts of its docstring, its parameters, its measured
        traits and, if it is causal, how many numbers its streaming state holds for one sequence after 1, 64 and 1024
        tokens.

    Raises:
        UsageError: an unknown name or option, or a value that the mixer refuses.
        PluginError: the mixer's plugin is broken, or the mixer itself fails.
    """
    entry = registry[MIXER].find(call.name)
    mixer = create_mixer(call, dim=dim, heads=heads, registry=registry).eval()
    return {
        **describe_entry(entry, registry),
        "causal": entry.cls.causal,
        **parse_doc(entry.doc),
        "origin": {**tell_origin(entry), "file": source_file(entry)},
        "call": str(call),
        "dim": dim,
        "heads": call.keywords.get("heads", heads) if "heads" in {o.name for o in entry.options} else None,
        "parameters": count_parameters(mixer),
        "active_parameters": count_active_parameters(mixer),
        "state": measure_state(mixer, entry, dim) if mixer.causal else None,
        "traits": vars(_measured(mixer, entry, dim)),
    }


def measure_state(mixer: TokenMixer, entry: Entry[Any], dim: int) -> dict[int, int]:
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
            cause = describe_cause(error, entry.cls)
            raise PluginError(f"{entry.name}, from {entry.origin}, failed to step: {cause}") from error
        sizes[length] = sum(leaf.numel() for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
        seen = length
    return sizes


def _measured(mixer: TokenMixer, entry: Entry[Any], dim: int) -> Traits:
    try:
        return measure_traits(mixer, dim)
    except Exception as error:
        cause = describe_cause(error, entry.cls)
        raise PluginError(f"{entry.name}, from {entry.origin}, cannot be measured: {cause}") from error
