"""What a pattern says, as a tree that prints itself in canonical form.

Every tree is canonical from its construction on: ``parse(str(tree)) == tree``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import TypeAlias

from zoo.errors import UsageError
from zoo.plugin.pattern.labels import Labels, Role
from zoo.plugin.pattern.text import (
    Value,
    canonical_label,
    canonical_name,
    canonical_option,
    canonical_value,
    check_new_option,
    print_value,
)

MAX_LENGTH = 10_000
"""Characters of a pattern, as written and in canonical form."""

MAX_LAYERS = 1024
"""Layers of a pattern once its repeats are expanded."""


@dataclass(frozen=True)
class Call:
    """A mixer, a channel mixer or the like, with the options that it was given.

    Args:
        name: the name, ``_`` written as ``-``; a distribution and ``:`` may stand in front.
        options: names and values in the order given, ``-`` in the names written as ``_``.
        position: where it starts and ends in the text that it was read from. Two calls that differ only here are
            equal.
        label: all calls of a pattern with one label are one module, ``_`` written as ``-``; None for a module of its
            own.
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()
    position: tuple[int, int] | None = field(default=None, compare=False, repr=False)
    label: str | None = None

    def __post_init__(self) -> None:
        options = tuple((canonical_option(name), canonical_value(value)) for name, value in self.options)
        for index, (name, _) in enumerate(options):
            check_new_option(name, dict(options[:index]))
        object.__setattr__(self, "name", canonical_name(self.name))
        object.__setattr__(self, "options", options)
        if self.label is not None:
            object.__setattr__(self, "label", canonical_label(self.label))
        _check_length(self)

    @property
    def keywords(self) -> dict[str, Value]:
        """The options as keyword arguments."""
        return dict(self.options)

    def same_options(self, other: "Call") -> bool:
        """Whether the options are those of another call, in whatever order; 1, 1.0 and True are different values."""
        return sorted(map(repr, self.options)) == sorted(map(repr, other.options))

    def __str__(self) -> str:
        options = ", ".join(f"{name}={print_value(value)}" for name, value in self.options)
        name = self.name if self.label is None else f"{self.name}@{self.label}"
        return f"{name}({options})" if options else name


@dataclass(frozen=True)
class Layer:
    """Token mixers that read the same stream side by side, and the channel mixer behind them.

    Args:
        mixers: one or more.
        channel: the channel mixer, or None for the host's default.
    """

    mixers: tuple[Call, ...]
    channel: Call | None = None

    def __post_init__(self) -> None:
        if not self.mixers:
            raise UsageError("a layer has no mixer: expected one or more")

    def __str__(self) -> str:
        mixers = " + ".join(map(str, self.mixers))
        return mixers if self.channel is None else f"{mixers}/{self.channel}"


@dataclass(frozen=True)
class Repeat:
    """Layers that come several times. In a tree, a repeat of one is replaced by what it repeats.

    Args:
        items: what is repeated, one or more.
        count: how often, 1 or more.
    """

    items: "tuple[Layer | Repeat, ...]"
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"layers cannot be repeated {self.count} times: expected 1 or more")
        object.__setattr__(self, "items", _spliced(self.items))
        _check_layers(self)

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.items))
        one_layer = len(self.items) == 1 and isinstance(self.items[0], Layer)
        return f"{inner if one_layer else f'({inner})'}*{self.count}"


@dataclass(frozen=True)
class Pattern:
    """A stack of layers as it was written, with its repeats.

    The first place of a label has its options, the other places none; `layers` gives them to all.

    Args:
        items: layers and repeats from the bottom of the stack up, one or more.
    """

    items: tuple[Layer | Repeat, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _labelled(_spliced(self.items), _without_options))
        _check_layers(self)
        _check_length(self)

    def layers(self, count: int | None = None) -> tuple[Layer, ...]:
        """The layers from the bottom of the stack up.

        Args:
            count: how many: the pattern is cycled until they are filled, the last time perhaps in part. None is the
                pattern once.

        Returns:
            The layers, each place of a label with its options.

        Raises:
            UsageError: `count` is below 1 or beyond what a pattern may hold.
        """
        once = tuple(_expanded(_labelled(self.items, _with_options)))
        if count is None:
            return once
        if not 1 <= count <= MAX_LAYERS:
            raise UsageError(f"a stack cannot have {count} layers: expected 1 to {MAX_LAYERS}")
        return tuple(islice(cycle(once), count))

    def __str__(self) -> str:
        return ", ".join(map(str, self.items))


def _spliced(items: tuple[Layer | Repeat, ...]) -> tuple[Layer | Repeat, ...]:
    if not items:
        raise UsageError("there is no layer: expected one or more")
    pieces = (item.items if isinstance(item, Repeat) and item.count == 1 else (item,) for item in items)
    return tuple(piece for group in pieces for piece in group)


_Items: TypeAlias = tuple[Layer | Repeat, ...]


def _labelled(items: _Items, placed: Callable[[Call, Call], Call]) -> _Items:
    """The items with what `placed` makes of each later place of a label, given it and the first place."""
    labels = Labels()

    def at(call: Call, role: Role) -> Call:
        first = labels.earlier(call, role)
        return call if first is None else placed(call, first)

    def walk(item: Layer | Repeat) -> Layer | Repeat:
        if isinstance(item, Repeat):
            return Repeat(tuple(map(walk, item.items)), item.count)
        return Layer(tuple(at(call, "token") for call in item.mixers), item.channel and at(item.channel, "channel"))

    return tuple(map(walk, items))


def _without_options(call: Call, _first: Call) -> Call:
    return replace(call, options=())


def _with_options(call: Call, first: Call) -> Call:
    return replace(call, options=first.options)


def _expanded(items: tuple[Layer | Repeat, ...]) -> Iterator[Layer]:
    for item in items:
        if isinstance(item, Layer):
            yield item
        else:
            yield from tuple(_expanded(item.items)) * item.count


def _count_layers(item: Layer | Repeat | Pattern) -> int:
    if isinstance(item, Layer):
        return 1
    return sum(map(_count_layers, item.items)) * (item.count if isinstance(item, Repeat) else 1)


def _check_layers(tree: Repeat | Pattern) -> None:
    if (count := _count_layers(tree)) > MAX_LAYERS:
        raise UsageError(f"there are {count} layers after expansion: expected at most {MAX_LAYERS}")


def _check_length(tree: Call | Pattern) -> None:
    if (length := len(str(tree))) > MAX_LENGTH:
        raise UsageError(f"the canonical form has {length} characters: expected at most {MAX_LENGTH}")
