"""What hooks return, checked: names, and classes of the right kind."""

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.errors import PluginError
from zoo.plugin import kinds
from zoo.plugin.catalogue import Entry, Origin
from zoo.plugin.kinds import Kind
from zoo.plugin.names import NAME_RULE, is_name


def members_of(given: object, origin: Origin, kind: Kind) -> Iterator[Entry[Any]]:
    """The members that the hook of a kind returned.

    Raises:
        PluginError: it is no dict from names to classes of that kind.
    """
    if not isinstance(given, Mapping):
        raise PluginError(f"{kind.hook}() returned {type(given).__name__}, not a dict of {kind.plural} by name")
    for name, cls in given.items():
        yield Entry(check_name(name, kind), check_class(name, cls, kind), origin, kind)


def check_name(name: Any, kind: Kind) -> str:
    """Refuse a name that no pattern could spell.

    Raises:
        PluginError: it is none.
    """
    if not is_name(name):
        raise PluginError(f"{name!r} is no name for a {kind}: {NAME_RULE}")
    return name


def check_class(name: str, cls: Any, kind: Kind) -> type[Any]:
    """Refuse what is no class of a kind.

    Raises:
        PluginError: it is something else.
    """
    if not (isinstance(cls, type) and issubclass(cls, kind.load_base())):
        raise PluginError(f"what it gives as {name!r} is {cls!r}, not a subclass of {kind.base_name}")
    return cls


def kind_of_class(cls: Any) -> Kind | None:
    """The kind whose base class a class inherits from; None for anything else, the base classes themselves included."""
    if not isinstance(cls, type):
        return None
    for kind in kinds.KINDS:
        base = kind.load_base()
        if issubclass(cls, base) and cls is not base:
            return kind
    return None
