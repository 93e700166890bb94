"""What is not installed: a class of the running process, or one that a pattern names by its file."""

import re
from pathlib import Path
from typing import Any

from zoo.errors import PluginError, UsageError
from zoo.plugin import kinds
from zoo.plugin.catalogue import Entry, Origin, Plugin
from zoo.plugin.files import add_to_file, is_loading, load_file
from zoo.plugin.members import check_class, check_name, kind_of_class
from zoo.plugin.options import did_you_mean
from zoo.plugin.registry import add

LOCAL = "local"
"""Stands for the distribution of what was registered in the running process."""

_PLACE = re.compile(r"(?P<path>~?[\w./-]*\.py)(?::(?P<name>[A-Za-z_]\w*))?")
"""A file, alone or within a pattern, with a class of it or not."""


def register(name: str, cls: type[Any], *, kind: str | None = None) -> None:
    """Register a class in this process, e.g. of a notebook.

    In a file that is loaded as a plugin the class is registered as a part of that plugin.

    Args:
        name: lower-case letters, digits and ``-``. A class that was registered under it before is replaced.
        cls: a subclass of the base class of its kind.
        kind: e.g. ``"mixer"``; None for the kind whose base class it inherits from.

    Raises:
        UsageError: a name that cannot be, or that another plugin gives, or a class of no kind.
    """
    found = kinds.find_kind(kind) if kind is not None else kind_of_class(cls)
    if found is None:
        bases = ", ".join(each.base_name for each in kinds.KINDS)
        raise UsageError(f"{cls!r} is of no kind that can be registered: inherit from one of {bases}")
    origin = Origin(LOCAL, "", name, None, is_installed=False)
    try:
        entry = Entry(check_name(name, found), check_class(name, cls, found), origin, found)
    except PluginError as error:
        raise UsageError(str(error)) from None
    if is_loading():
        add_to_file(entry)
    else:
        add(Plugin(origin, (entry,)))


def files_in(pattern: str) -> list[Path]:
    """The files that a pattern names, as in ``./mine.py:Mine``."""
    return [Path(found["path"]) for found in _PLACE.finditer(pattern)]


def with_file_names(pattern: str) -> str:
    """A pattern in which each ``./mine.py:Mine`` is replaced by the name under which that class is registered.

    Raises:
        UsageError: no such file or class, a file that fails, or one of several classes without the name of one.
    """

    def registered(found: re.Match[str]) -> str:
        add(load_file(Path(found["path"])))
        return find_in_file(Path(found["path"]), found["name"]).name

    return _PLACE.sub(registered, pattern)


def find_class(place: str) -> type[Any] | None:
    """The class that ``./mine.py:Mine`` names, which is not registered; None for any other text, e.g. a pattern.

    Raises:
        UsageError: as in `with_file_names`.
    """
    found = _PLACE.fullmatch(place.strip())
    return find_in_file(Path(found["path"]), found["name"]).cls if found else None


def find_in_file(path: Path, name: str | None = None) -> Entry[Any]:
    """The class of that name in a file; without a name, the only one.

    Raises:
        UsageError: as in `with_file_names`.
    """
    plugin = load_file(path)
    by_name = {entry.cls.__name__: entry for entry in plugin.members}
    if name in by_name:
        return by_name[name]
    listed = ", ".join(by_name)
    if name is not None:
        raise UsageError(f"{path} has no class {name!r} of any kind{did_you_mean(name, by_name)}; there are: {listed}")
    if len(by_name) != 1:
        raise UsageError(f"which class of {path}? write {path}:Class; there are: {listed}")
    return next(iter(by_name.values()))
