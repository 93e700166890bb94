"""What plugins gave: the registered members of each kind, where each comes from, and what a name means."""

import fnmatch
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from zoo.errors import PluginError, UsageError
from zoo.plugin.commands import PluginCommand
from zoo.plugin.kinds import MIXER, Kind
from zoo.plugin.known import how_to_install
from zoo.plugin.options import Option, check_options, did_you_mean, options_of

Member = TypeVar("Member")
"""What is registered: a class of some kind."""


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from.

    Attributes:
        distribution: for a file that was passed with ``--plugin``, its name without ``.py``; ``"local"`` for a class
            that was registered by `zoo.register`.
        version: empty for what is not installed.
        entry_point: for what is not installed, the name of the file or of the class.
        file: of the plugin's code, if there is one.
        is_installed: whether a distribution brought it.
    """

    distribution: str
    version: str
    entry_point: str
    file: str | None = None
    is_installed: bool = True

    def __str__(self) -> str:
        if not self.is_installed:
            return self.file or f"zoo.register ({self.entry_point})"
        if not self.version:  # a class that was handed over, and not installed
            return f"{self.distribution}.{self.entry_point}"
        return f"{self.distribution} {self.version} (entry point {self.entry_point!r})"


@dataclass(frozen=True)
class Entry(Generic[Member]):
    """A registered class."""

    name: str
    cls: type[Member]
    origin: Origin
    kind: Kind = MIXER

    @property
    def qualified_name(self) -> str:
        """The name that always works, whatever else is installed."""
        return f"{self.origin.distribution}:{self.name}"

    @property
    def doc(self) -> str:
        """Its own docstring; the one that it inherits says nothing about it."""
        return inspect.cleandoc(self.cls.__doc__ or "")

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return " ".join(self.doc.split("\n\n")[0].split())

    @property
    def paper(self) -> str:
        """Where it comes from; empty where it does not say."""
        return str(getattr(self.cls, "paper", ""))

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names that find it where no member has them as its own, e.g. that of a paper."""
        return tuple(getattr(self.cls, "aliases", ()))

    @property
    def suites(self) -> tuple[str, ...]:
        """The names of the sets that it belongs to."""
        suite = getattr(self.cls, "suite", ())
        return (suite,) if suite and isinstance(suite, str) else tuple(suite)

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """What a call may set."""
        return options_of(self.cls, filled=self.kind.filled)

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given options, checked against the class.

        Raises:
            UsageError: an option that it does not have, a value of the wrong type, a required option left out.
        """
        return check_options(self.cls, given, self.name, filled=self.kind.filled)


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found: loaded, or broken and why.

    Attributes:
        members: what it gives, of all kinds.
        commands: what it adds to the command line.
        changes: the global state that its code changed when it was imported, which was restored.
    """

    origin: Origin
    members: tuple[Entry[Any], ...] = ()
    commands: tuple[PluginCommand, ...] = ()
    error: str | None = None
    traceback: str | None = None
    changes: tuple[str, ...] = ()

    def of(self, kind: Kind) -> tuple[Entry[Any], ...]:
        """What it gives of one kind."""
        return tuple(entry for entry in self.members if entry.kind.name == kind.name)


class Catalogue(Generic[Member]):
    """All members of one kind.

    Args:
        kind: of all entries.
        entries: of that kind.
        plugins: what was found, broken ones included.
        owners: decide plain names, by name: the distribution that a saved run had it from.
    """

    def __init__(
        self,
        kind: Kind,
        entries: Iterable[Entry[Member]],
        plugins: Iterable[Plugin],
        owners: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.entries = tuple(entries)
        self.plugins = tuple(plugins)
        self.owners = owners or {}

    def find(self, name: str) -> Entry[Member]:
        """What is registered under that name or alias, plain or ``distribution:name``, spelt with ``-`` or ``_``.

        Raises:
            UsageError: no such name, or several of it.
            PluginError: the plugin that should give it is broken or not installed.
        """
        owner, _, plain = name.rpartition(":")
        plain = plain.replace("_", "-")
        owner = owner or self.owners.get(plain, "")
        among = [entry for entry in self.entries if not owner or _same(entry.origin.distribution, owner)]
        named = [entry for entry in among if entry.name == plain]
        found = named or [entry for entry in among if plain in entry.aliases]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(self._ambiguous(plain, found))
        raise self._missing(plain, owner)

    def list(self, glob: str = "*") -> tuple[Entry[Member], ...]:
        """The entries whose name matches, or whose qualified name does where the glob has a ``:``, in natural order."""
        glob = glob.replace("_", "-")
        chosen = (e for e in self.entries if fnmatch.fnmatch(e.qualified_name if ":" in glob else e.name, glob))
        return tuple(sorted(chosen, key=lambda entry: (_natural(entry.name), entry.origin.distribution)))

    def display_name(self, entry: Entry[Member]) -> str:
        """The shortest name that finds this entry."""
        return entry.name if sum(other.name == entry.name for other in self.entries) == 1 else entry.qualified_name

    @property
    def names(self) -> tuple[str, ...]:
        """The shortest names of all, in natural order."""
        return tuple(sorted({self.display_name(entry) for entry in self.entries}, key=_natural))

    def _missing(self, name: str, owner: str) -> Exception:
        broken = [plugin for plugin in self.plugins if plugin.error]
        suspects = [plugin for plugin in broken if _could_give(plugin, name, owner)]
        if suspects:
            origin, error = suspects[0].origin, suspects[0].error
            return PluginError(f"{self.kind} {name!r} should come from {origin}, which is broken: {error}")
        if owner and not any(_same(plugin.origin.distribution, owner) for plugin in self.plugins):
            shown, install = f"{owner}:{name}", f": pip install {owner}"
            if not shown.isprintable():  # a damaged file may name anything
                shown, install = repr(shown), ""
            return PluginError(
                f"{self.kind} {shown} needs the distribution {owner!r}, which is not installed or not allowed by "
                f"ZOO_PLUGINS and ZOO_BLOCK_PLUGINS{install}"
            )
        names = ", ".join(self.names) or "none (is mixer-zoo installed? try `zoo plugins`)"
        if remedy := how_to_install(self.kind.name, name):
            return PluginError(f"{self.kind} {name!r} comes with a plugin: {remedy}")
        text = f"no {self.kind} is named {name!r}{did_you_mean(name, self.names)}; there are: {names}"
        if broken:
            text += f"; not loaded: {', '.join(str(plugin.origin) for plugin in broken)}, see `zoo plugins`"
        return UsageError(text)

    def _ambiguous(self, name: str, found: Iterable[Entry[Member]]) -> str:
        origins = " and ".join(str(entry.origin) for entry in found)
        names = " or ".join(entry.qualified_name for entry in found)
        return f"{self.kind} {name!r} is given by {origins}: write {names}"


def normal_name(distribution: str) -> str:
    """The name of a distribution as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _could_give(plugin: Plugin, name: str, owner: str) -> bool:
    if owner:
        return _same(plugin.origin.distribution, owner)
    return name in (normal_name(plugin.origin.entry_point), normal_name(plugin.origin.distribution))


def _same(first: str, second: str) -> bool:
    return normal_name(first) == normal_name(second)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
