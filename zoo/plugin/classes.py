"""Classes in the place of names, as a notebook or a script hands them to `zoo.build_model` and `zoo.create_mixer`."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from zoo.errors import UsageError
from zoo.plugin import kinds
from zoo.plugin.catalogue import Entry, Origin, Plugin
from zoo.plugin.files import class_name
from zoo.plugin.kinds import MIXER, Kind
from zoo.plugin.members import kind_of_class
from zoo.plugin.pattern import Call, Layer, Pattern, parse, parse_call
from zoo.plugin.registry import Registry

Member: TypeAlias = str | Call | type[Any] | partial[Any]
"""A member: its name with options if any, its class, or its class with options: ``partial(Mine, factor=2)``."""

Layers: TypeAlias = Pattern | Member | Sequence[Member | Layer]
"""The layers of a model: a pattern, a mixer, or a list of them from the bottom of the stack up."""


class ClassNames:
    """Finds the names of classes, and gives those a name that have none.

    Args:
        registry: where to look.
        redefined: take a registered class of the same module and name for one that it has replaced, as when a cell of a
            notebook has run again.

    Attributes:
        registry: with the classes that were given a name here.
        unregistered: those classes, by that name.
    """

    def __init__(self, registry: Registry, *, redefined: bool = False) -> None:
        self.registry = registry
        self._redefined = redefined
        self.unregistered: dict[str, type[Any]] = {}

    def pattern(self, layers: Layers) -> Pattern:
        """The layers as a pattern.

        Raises:
            PatternError: a pattern that cannot be read.
            UsageError: something else than `Layers`.
        """
        if isinstance(layers, Pattern):
            return layers
        if isinstance(layers, list | tuple):
            parts = [Pattern((part,)) if isinstance(part, Layer) else self._one(part) for part in layers]
            return Pattern(tuple(item for part in parts for item in part.items))
        return self._one(layers)

    def call(self, member: object, *among: Kind) -> Call:
        """The name of a member, with its options.

        Args:
            member: a `Member`.
            among: the kinds of which it may be; the first one with a name has it.

        Raises:
            PatternError: a name with options that cannot be read.
            UsageError: an instance, a class of another kind, or options that a pattern cannot write.
        """
        if isinstance(member, Call):
            return member
        if isinstance(member, str):
            return parse_call(member)
        cls, options = _class_and_options(member)
        kind = kind_of_class(cls)
        if kind not in among:
            raise UsageError(_not_a_member(cls, kind, among))
        name = self._registered(among, lambda other: other is cls)
        if name is None and self._redefined:
            name = self._registered(among, lambda other: _place(other) == _place(cls))
        name = name or self._named(cls, kind)
        try:
            return Call(name, tuple(options.items()))
        except UsageError as error:
            raise UsageError(f"{cls.__name__}: {error}") from None

    def _one(self, mixer: object) -> Pattern:
        return parse(mixer) if isinstance(mixer, str) else Pattern((Layer((self.call(mixer, MIXER),)),))

    def _registered(self, among: Sequence[Kind], is_meant: Callable[[type[Any]], bool]) -> str | None:
        taken: set[str] = set()
        for kind in among:
            catalogue = self.registry[kind]
            for entry in catalogue.entries:
                if is_meant(entry.cls) and entry.name not in taken:
                    return catalogue.display_name(entry)
            taken |= {entry.name for entry in catalogue.entries}
        return None

    def _named(self, cls: type[Any], kind: Kind) -> str:
        """Register a class here, under a name that nothing else has."""
        plain = re.sub(r"[^a-z0-9-]|^[^a-z]+", "", class_name(cls)) or kind.name
        taken = {entry.name for each in kinds.KINDS for entry in self.registry[each].entries}
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        origin = Origin(cls.__module__, "", cls.__qualname__)
        self.registry = self.registry.with_plugin(Plugin(origin, (Entry(name, cls, origin, kind),)))
        self.unregistered[name] = cls
        return name


def _place(cls: type[Any]) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _class_and_options(member: object) -> tuple[Any, dict[str, Any]]:
    if not isinstance(member, partial):
        return member, {}
    if member.args:
        name = getattr(member.func, "__name__", "Class")
        raise UsageError(f"partial({name}, …) has arguments without a name: write options as partial({name}, name=…)")
    return member.func, member.keywords


def _not_a_member(given: object, kind: Kind | None, among: Sequence[Kind]) -> str:
    wanted = " or ".join(each.base_name for each in among)
    if isinstance(given, type):
        what = f"is a {kind}" if kind is not None else "is no member of any kind"
        return f"{given.__name__} {what}, and a {among[0]} is expected: pass a name, or a subclass of {wanted}"
    if kind_of_class(type(given)) is not None:
        name = type(given).__name__
        return f"pass the class {name} and not an instance of it; with options it is functools.partial({name}, …)"
    return f"a {among[0]} is a name or a subclass of {wanted}, not {type(given).__name__}"
