"""Hypothesis strategies for what the laws range over: sizes, ways to cut a sequence, and the options of a mixer."""

import types
import typing
from typing import Any, NamedTuple

import torch
from hypothesis import reject
from hypothesis import strategies as st
from torch import Tensor

from zoo.build import instantiate
from zoo.contract import TokenMixer
from zoo.errors import UsageError
from zoo.options import FILLED_BY_HOST, Option
from zoo.registry import MixerEntry
from zoo.testing.running import drawn


class Sizes(NamedTuple):
    """How large a case is: rows, tokens, model width, heads."""

    batch: int
    time: int
    dim: int
    heads: int


class Case(NamedTuple):
    """A mixer in float64 with all parameters drawn, the options that it was built with, and reads for it."""

    mixer: TokenMixer
    options: dict[str, Any]
    reads: Tensor


def sizes(longest: int = 12) -> st.SearchStrategy[Sizes]:
    """Small sizes that most mixers can be built with."""
    shapes = st.sampled_from([(8, 1), (8, 2), (16, 2), (16, 4)])
    return st.builds(
        lambda batch, time, shape: Sizes(batch, time, *shape), st.integers(1, 3), st.integers(1, longest), shapes
    )


def cuts(time: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Every way of cutting a sequence of so many tokens into pieces, as the ascending ends of all but the last."""
    if time < 2:
        return st.just(())
    return st.sets(st.integers(1, time - 1)).map(lambda ends: tuple(sorted(ends)))


def options(of: tuple[Option, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Options of a mixer, each either left to its default or drawn from its annotation.

    Options whose annotation does not say what values there are (text, bare floats) stay at their defaults, as do those
    that the host fills.
    """
    choices = {option.name: values(option.annotation) for option in of if option.name not in FILLED_BY_HOST}
    known = {name: strategy for name, strategy in choices.items() if strategy is not None}
    required = {option.name for option in of if option.required}
    return st.fixed_dictionaries(
        {name: known[name] for name in known if name in required},
        optional={name: known[name] for name in known if name not in required},
    )


def values(annotation: Any) -> st.SearchStrategy[Any] | None:
    """Values of an annotation: choices of a Literal, truth values, small counts, None; None if it is too wide."""
    plain = {bool: st.booleans(), int: st.sampled_from([1, 2, 3, 4, 0]), types.NoneType: st.none()}
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is typing.Annotated:
        return values(arguments[0])
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in map(values, arguments) if part is not None]
        return st.one_of(parts) if parts else None
    return plain.get(annotation) if isinstance(annotation, type) else None


@st.composite
def cases(draw: st.DrawFn, entry: MixerEntry, longest: int = 12) -> Case:
    """Cases of a registered mixer; what its plugin refuses with an error for users is not drawn."""
    size = draw(sizes(longest))
    chosen = draw(options(entry.options))
    seed = draw(st.integers(0, 2**16))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            mixer = instantiate(entry, chosen, dim=size.dim, heads=size.heads, layer_index=0, layers=1)
        except UsageError:
            reject()
    reads = torch.randn(size.batch, size.time, size.dim, generator=torch.Generator().manual_seed(seed)).double()
    return Case(drawn(mixer.double(), seed), chosen, reads)
