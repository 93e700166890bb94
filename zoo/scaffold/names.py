"""What a new distribution may be called: its member, its folder and its package have one name."""

import builtins
import importlib.metadata
import importlib.util
import keyword

from zoo.errors import UsageError
from zoo.plugin import kinds
from zoo.plugin.catalogue import normal_name
from zoo.plugin.kinds import Kind
from zoo.plugin.names import NAME_RULE, is_name
from zoo.plugin.registry import Registry

_CHOSEN_TOGETHER = ({"mixer", "hybrid"}, {"task", "corpus"})
"""Kinds of which one flag chooses, where a name of the one would hide that of the other."""


def package_of(name: str) -> str:
    """The name by which Python imports it, e.g. ``my_mixer``."""
    return name.replace("-", "_")


def class_of(name: str) -> str:
    """The name of the member's class, e.g. ``MyMixer``."""
    return "".join(map(str.capitalize, name.split("-")))


def check_free(name: str, kind: Kind, registry: Registry) -> None:
    """Refuse what is no name, and a name that belongs to something else.

    Raises:
        UsageError: it is not spelt as a name, has a meaning in Python, or is that of a registered member or of an
            installed package.
    """
    if not is_name(name):
        raise UsageError(f"`name`={name!r} is no name for a {kind}: {NAME_RULE}, with a letter first")
    if taken := _taken_by(name, kind, registry):
        raise UsageError(f"`name`={name!r} is {taken}: choose another one")


def _taken_by(name: str, kind: Kind, registry: Registry) -> str:
    """What has the name already; empty if it is free."""
    for other in _chosen_with(kind):
        for entry in registry[other].entries:
            if entry.name == name:
                return f"the {other} of {entry.origin}"
    if keyword.iskeyword(package_of(name)) or hasattr(builtins, class_of(name)):
        return "a word of Python's"
    if importlib.util.find_spec(package_of(name)) is not None or _is_installed(name):
        return "an installed package"
    return ""


def _is_installed(name: str) -> bool:
    return any(normal_name(found.name or "") == name for found in importlib.metadata.distributions())


def _chosen_with(kind: Kind) -> list[Kind]:
    names = {kind.name}.union(*(together for together in _CHOSEN_TOGETHER if kind.name in together))
    return [other for other in kinds.KINDS if other.name in names]
