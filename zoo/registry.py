"""Discovery of mixers: who gives which, what is broken, and what a name means."""

import fnmatch
import importlib.metadata
import inspect
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.contract import TokenMixer
from zoo.errors import PluginError, UsageError
from zoo.options import Option, did_you_mean, options_of

HOST = "mixer-zoo"
"""The distribution of the zoo itself, whose entry point brings the built-in mixers."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from."""

    distribution: str
    version: str
    entry_point: str
    file: str | None = None

    def __str__(self) -> str:
        if not self.version:  # a class that was handed over, and not installed
            return f"{self.distribution}.{self.entry_point}"
        return f"{self.distribution} {self.version} (entry point {self.entry_point!r})"


@dataclass(frozen=True)
class MixerEntry:
    """A registered mixer."""

    name: str
    cls: type[TokenMixer]
    origin: Origin

    @property
    def qualified_name(self) -> str:
        """The name that always works, whatever else is installed."""
        return f"{self.origin.distribution}:{self.name}"

    @property
    def doc(self) -> str:
        """The mixer's own docstring; the one that it inherits says nothing about it."""
        return inspect.cleandoc(self.cls.__doc__ or "")

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return " ".join(self.doc.split("\n\n")[0].split())

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """What a pattern may set."""
        return options_of(self.cls)


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found: loaded, or broken and why."""

    origin: Origin
    mixers: tuple[MixerEntry, ...] = ()
    error: str | None = None
    traceback: str | None = None


class Registry:
    """All mixers that the installed plugins give.

    Args:
        plugins: what was found, broken ones included.
        distributions: settle plain names, by mixer name: the distribution that a saved run had it from.
    """

    def __init__(self, plugins: Iterable[Plugin], distributions: Mapping[str, str] | None = None) -> None:
        self.plugins = tuple(plugins)
        self.distributions = distributions or {}
        self.entries = tuple(entry for plugin in self.plugins for entry in plugin.mixers)

    @classmethod
    def discover(cls, environ: Mapping[str, str] = os.environ) -> "Registry":
        """Load every plugin that the environment allows. A broken one is kept as broken and harms nobody else."""
        manager = pluggy.PluginManager(hookspecs.GROUP)
        manager.add_hookspecs(hookspecs)
        plugins: list[Plugin] = []
        for point in _entry_points(environ):
            plugins.append(_load(manager, point, plugins))
        return cls(plugins)

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """The plugins that could not be loaded."""
        return tuple(plugin for plugin in self.plugins if plugin.error)

    def remembering(self, distributions: Mapping[str, str]) -> "Registry":
        """The same registry, in which plain names mean the mixers of these distributions."""
        return Registry(self.plugins, distributions)

    def find(self, name: str) -> MixerEntry:
        """The mixer of that name, plain or ``distribution:name``, spelt with ``-`` or ``_``.

        Raises:
            UsageError: no such mixer, or several of that name.
            PluginError: the plugin that should give it is broken or not installed.
        """
        owner, _, plain = name.rpartition(":")
        plain = plain.replace("_", "-")
        owner = owner or self.distributions.get(plain, "")
        named = [entry for entry in self.entries if entry.name == plain]
        found = [entry for entry in named if not owner or _same(entry.origin.distribution, owner)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(_ambiguous(plain, found))
        raise self._missing(plain, owner)

    def list(self, glob: str = "*") -> tuple[MixerEntry, ...]:
        """The mixers whose plain or qualified name matches, in natural order."""
        glob = glob.replace("_", "-")
        chosen = (e for e in self.entries if any(fnmatch.fnmatch(n, glob) for n in (e.name, e.qualified_name)))
        return tuple(sorted(chosen, key=lambda entry: (_natural(entry.name), entry.origin.distribution)))

    def display_name(self, entry: MixerEntry) -> str:
        """The shortest name that finds this mixer."""
        return entry.name if sum(other.name == entry.name for other in self.entries) == 1 else entry.qualified_name

    def _missing(self, name: str, owner: str) -> Exception:
        suspects = [plugin for plugin in self.broken if _could_give(plugin, name, owner)]
        if suspects:
            origin, error = suspects[0].origin, suspects[0].error
            return PluginError(f"mixer {name!r} should come from {origin}, which is broken: {error}")
        if owner and not any(_same(plugin.origin.distribution, owner) for plugin in self.plugins):
            return PluginError(
                f"mixer {owner}:{name} needs the distribution {owner!r}, which is not installed or not allowed by "
                f"ZOO_PLUGINS and ZOO_BLOCK_PLUGINS: pip install {owner}"
            )
        known = {self.display_name(entry) for entry in self.entries}
        names = ", ".join(sorted(known, key=_natural)) or "none (is mixer-zoo installed? try `zoo plugins`)"
        text = f"no mixer is named {name!r}{did_you_mean(name, known)}; there are: {names}"
        if self.broken:
            text += f"; not loaded: {', '.join(str(plugin.origin) for plugin in self.broken)}, see `zoo plugins`"
        return UsageError(text)


@cache
def get_registry() -> Registry:
    """The registry of this process, discovered on first use."""
    return Registry.discover()


def _entry_points(environ: Mapping[str, str]) -> Iterator[importlib.metadata.EntryPoint]:
    allowed, blocked = environ.get("ZOO_PLUGINS"), _names(environ.get("ZOO_BLOCK_PLUGINS", ""))
    points = importlib.metadata.entry_points(group=hookspecs.GROUP)
    for point in sorted(points, key=lambda point: (_origin(point).distribution, point.name)):
        owner = _normal(_origin(point).distribution)
        wanted = allowed is None or owner in _names(allowed) | {HOST}
        if wanted and owner not in blocked:
            yield point


def _load(manager: pluggy.PluginManager, point: importlib.metadata.EntryPoint, earlier: Iterable[Plugin]) -> Plugin:
    origin = _origin(point)
    name = f"{origin.distribution}:{origin.entry_point}"
    try:
        plugin = point.load()
        if manager.is_registered(plugin):
            raise PluginError(f"it is the same object as {manager.get_name(plugin)}, which is loaded")
        manager.register(plugin, name=name)
        manager.check_pending()
        origin = Origin(origin.distribution, origin.version, origin.entry_point, _file(plugin))
        return Plugin(origin, _checked_new(tuple(_mixers(manager, plugin, origin)), earlier))
    except (Exception, SystemExit) as error:  # whatever a plugin does, the others and `zoo` itself go on
        if manager.has_plugin(name):
            manager.unregister(name=name)
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        return Plugin(origin, error=cause, traceback=traceback.format_exc())


def _mixers(manager: pluggy.PluginManager, plugin: object, origin: Origin) -> Iterator[MixerEntry]:
    callers = manager.get_hookcallers(plugin)
    if not callers:
        raise PluginError("it implements no hook: is @hookimpl missing above zoo_mixers()?")
    for impl in manager.hook.zoo_mixers.get_hookimpls():
        if impl.plugin is plugin:
            given = impl.function()
            if not isinstance(given, Mapping):
                raise PluginError(f"zoo_mixers() returned {type(given).__name__}, not a dict of mixers by name")
            for name, cls in given.items():
                yield MixerEntry(_checked_name(name), _checked_class(name, cls), origin)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f"{name!r} is no name for a mixer: use lower-case letters, digits and '-'")
    return name


def _checked_class(name: str, cls: Any) -> type[TokenMixer]:
    if not (isinstance(cls, type) and issubclass(cls, TokenMixer)):
        raise PluginError(f"what it gives as {name!r} is {cls!r}, not a subclass of zoo.TokenMixer")
    return cls


def _checked_new(mixers: tuple[MixerEntry, ...], earlier: Iterable[Plugin]) -> tuple[MixerEntry, ...]:
    given = {entry.qualified_name: entry.origin.entry_point for plugin in earlier for entry in plugin.mixers}
    for entry in mixers:
        if entry.qualified_name in given:
            first = given[entry.qualified_name]
            raise PluginError(
                f"it gives mixer {entry.name!r}, and so does entry point {first!r} of the same distribution"
            )
    return mixers


def _origin(point: importlib.metadata.EntryPoint) -> Origin:
    # What pip leaves behind when it is cut short has neither a name nor a version.
    name, version = getattr(point.dist, "name", None), getattr(point.dist, "version", None)
    return Origin(name or "unknown", version or "0", point.name)


def _file(plugin: object) -> str | None:
    if isinstance(plugin, ModuleType):
        return plugin.__file__
    try:
        return inspect.getsourcefile(plugin if isinstance(plugin, type) else type(plugin))
    except TypeError:  # built into Python: no plugin, as will show
        return None


def _could_give(plugin: Plugin, name: str, owner: str) -> bool:
    if owner:
        return _same(plugin.origin.distribution, owner)
    return name in (_normal(plugin.origin.entry_point), _normal(plugin.origin.distribution))


def _ambiguous(name: str, found: list[MixerEntry]) -> str:
    origins = " and ".join(str(entry.origin) for entry in found)
    names = " or ".join(entry.qualified_name for entry in found)
    return f"mixer {name!r} is given by {origins}: write {names}"


def _names(text: str) -> set[str]:
    return {_normal(name.strip()) for name in text.split(",") if name.strip()}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _same(first: str, second: str) -> bool:
    return _normal(first) == _normal(second)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
