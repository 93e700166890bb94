"""What a pattern says, as a tree that prints itself in canonical form.

Every tree is canonical from its construction on: ``parse(str(tree)) == tree``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice

from zoo.errors import UsageError
from zoo.plugin.pattern.words import (
    Value,
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
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()
    position: tuple[int, int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        options = tuple((canonical_option(name), canonical_value(value)) for name, value in self.options)
        for index, (name, _) in enumerate(options):
            check_new_option(name, dict(options[:index]))
        object.__setattr__(self, "name", canonical_name(self.name))
        object.__setattr__(self, "options", options)
        _check_length(self)

    @property
    def keywords(self) -> dict[str, Value]:
        """The options as keyword arguments."""
        return dict(self.options)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={print_value(value)}" for name, value in self.options)
        return f"{self.name}({options})" if options else self.name


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

    Args:
        items: layers and repeats from the bottom of the stack up, one or more.
    """

    items: tuple[Layer | Repeat, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _spliced(self.items))
        _check_layers(self)
        _check_length(self)

    def layers(self, count: int | None = None) -> tuple[Layer, ...]:
        """The layers from the bottom of the stack up.

        Args:
            count: how many: the pattern is cycled until they are filled, the last time perhaps in part. None is the
                pattern once.

        Returns:
            The layers.

        Raises:
            UsageError: `count` is below 1 or beyond what a pattern may hold.
        """
        once = tuple(_expanded(self.items))
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
