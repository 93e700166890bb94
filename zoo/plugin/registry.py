"""Discovery: who gives which members of which kind, and what is broken."""

import importlib.metadata
import inspect
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import pluggy

from zoo.errors import PluginError, UsageError
from zoo.plugin import hookspecs, kinds
from zoo.plugin.catalogue import Catalogue, Entry, Origin, Plugin, normal_name
from zoo.plugin.commands import PluginCommand, read_commands
from zoo.plugin.files import files_of, forget_files, load_file
from zoo.plugin.isolation import isolated
from zoo.plugin.kinds import TASK, Kind
from zoo.plugin.members import members_of
from zoo.plugin.names import GROUP

__all__ = ["HOST", "Entry", "Origin", "Plugin", "Registry", "forget", "get_registry"]

HOST = "mixer-zoo"
"""The distribution of the zoo itself, whose entry points bring the built-in members."""


class Registry:
    """All members that the plugins give; ``registry[TASK].find("mqar")``.

    Args:
        plugins: what was found, broken ones included.
        origins: decide plain names, by kind and name: the distribution that a saved run had it from.
    """

    def __init__(self, plugins: Iterable[Plugin], origins: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.plugins = plugins = tuple(plugins)
        self._origins = origins
        self._catalogues = {
            kind.name: Catalogue(
                kind,
                [entry for plugin in plugins for entry in plugin.of(kind)],
                plugins,
                (origins or {}).get(kind.name),
            )
            for kind in kinds.KINDS
        }

    def __getitem__(self, kind: Kind) -> Catalogue[Any]:
        return self._catalogues[kind.name]

    @classmethod
    def discover(cls, environ: Mapping[str, str] = os.environ) -> "Registry":
        """Load every plugin that the environment allows. A broken one is kept as broken and harms no other."""
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        plugins: list[Plugin] = []
        for point, origin in _entry_points(environ):
            plugins.append(_load(manager, point, origin, plugins))
        return cls(plugins)

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """The plugins that could not be loaded."""
        return tuple(plugin for plugin in self.plugins if plugin.error)

    def suite(self, name: str) -> tuple[str, ...]:
        """The names of the tasks of a suite, however it is spelt, in natural order; none if there is no such suite."""
        tasks = self[TASK]
        wanted = normal_name(name.strip())
        members = (entry for entry in tasks.list() if wanted in map(normal_name, entry.suites))
        return tuple(tasks.display_name(entry) for entry in members)

    @property
    def suites(self) -> tuple[str, ...]:
        """The names of all suites of tasks, in alphabetical order; one that is spelt in several ways stands once."""
        spelt = {normal_name(suite): suite for entry in self[TASK].list() for suite in entry.suites}
        return tuple(spelt[name] for name in sorted(spelt))

    def with_recorded_origins(self, origins: Mapping[str, Mapping[str, str]]) -> "Registry":
        """The same registry, in which plain names mean what these distributions give, by kind and name."""
        return Registry(self.plugins, origins)

    def with_plugin(self, plugin: Plugin) -> "Registry":
        """The same registry with one more plugin."""
        return Registry([*self.plugins, plugin], self._origins)


_ADDED: list[Plugin] = []
"""Plugins that were added in this process, and are not installed."""


@cache
def _discovered() -> Registry:
    return Registry.discover()


def discovered() -> Registry | None:
    """What is installed, if this process has loaded it already."""
    return _discovered() if _discovered.cache_info().currsize else None


@cache
def get_registry() -> Registry:
    """The registry of this process: what is installed, discovered on first use, and what is not.

    Raises:
        UsageError: a file of ``ZOO_PLUGIN_FILES`` that cannot be loaded, or a name that an installed plugin gives.
    """
    installed, added = _discovered(), [*map(load_file, files_of(os.environ)), *_ADDED]
    plugins = list({plugin.origin: plugin for plugin in added}.values())  # a file may have been added, too
    for index, plugin in enumerate(plugins):
        _check_hides_nothing(plugin, [*installed.plugins, *plugins[:index]])
    return Registry([*installed.plugins, *plugins])


def has_plugins(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether anything but the zoo itself gives something. Tells without importing it."""
    owners = {origin.distribution for _, origin in _entry_points(environ)}
    return bool(owners - {HOST}) or any(files_of(environ))


def add(plugin: Plugin) -> None:
    """Add a plugin that is not installed, in place of one of the same origin.

    Raises:
        UsageError: it gives a name that another plugin gives.
    """
    before = list(_ADDED)
    _ADDED[:] = [*(other for other in _ADDED if other.origin != plugin.origin), plugin]
    get_registry.cache_clear()
    try:
        get_registry()
    except UsageError:
        _ADDED[:] = before
        get_registry.cache_clear()
        raise


@contextmanager
def adding(plugins: Iterable[Plugin]) -> Iterator[None]:
    """Add plugins for a while, in place of added ones that give the same names."""
    before, plugins = list(_ADDED), tuple(plugins)
    given = {(entry.kind.name, entry.name) for plugin in plugins for entry in plugin.members}
    kept = (p for p in before if given.isdisjoint((entry.kind.name, entry.name) for entry in p.members))
    _ADDED[:] = [*kept, *plugins]
    get_registry.cache_clear()
    try:
        yield
    finally:
        _ADDED[:] = before
        get_registry.cache_clear()


def forget() -> None:
    """Discover everything anew on the next use, and drop what was added."""
    _discovered.cache_clear()
    forget_files()
    _ADDED.clear()
    get_registry.cache_clear()


def forget_added() -> None:
    """Drop the files that were added, and look again at those that the environment names."""
    _ADDED[:] = [plugin for plugin in _ADDED if plugin.origin.file is None]
    get_registry.cache_clear()


def _entry_points(environ: Mapping[str, str]) -> Iterator[tuple[importlib.metadata.EntryPoint, Origin]]:
    allowed, blocked = environ.get("ZOO_PLUGINS"), _names(environ.get("ZOO_BLOCK_PLUGINS", ""))
    points = _installed_points()
    distributions = {id(point.dist): point.dist for point in points}
    named = {key: _name_and_version(distribution) for key, distribution in distributions.items()}  # each is parsed once
    found = [(point, Origin(*named[id(point.dist)], point.name)) for point in points]
    for point, origin in sorted(found, key=lambda pair: (pair[1].distribution, pair[1].entry_point)):
        owner = normal_name(origin.distribution)
        wanted = allowed is None or owner in _names(allowed) | {HOST}
        if wanted and owner not in blocked:
            yield point, origin


def _installed_points() -> list[importlib.metadata.EntryPoint]:
    """The entry points of the group. A distribution whose metadata cannot be read, of whomever it is, gives none."""
    try:
        return list(importlib.metadata.entry_points(group=GROUP))
    except Exception:  # whatever a parser raises
        found: dict[str, list[importlib.metadata.EntryPoint]] = {}
        for distribution in importlib.metadata.distributions():
            with suppress(Exception):
                points = list(distribution.entry_points.select(group=GROUP))
                found.setdefault(normal_name(distribution.name), points)  # the first one on the path counts
        return [point for points in found.values() for point in points]


def _load(
    manager: pluggy.PluginManager, point: importlib.metadata.EntryPoint, origin: Origin, earlier: Iterable[Plugin]
) -> Plugin:
    with isolated() as changes:
        plugin = _registered(manager, point, origin, earlier)
    return replace(plugin, changes=tuple(changes))


def _registered(
    manager: pluggy.PluginManager, point: importlib.metadata.EntryPoint, origin: Origin, earlier: Iterable[Plugin]
) -> Plugin:
    name = f"{origin.distribution}:{origin.entry_point}"
    try:
        plugin = point.load()
        if manager.is_registered(plugin):
            raise PluginError(f"it is the same object as {manager.get_name(plugin)}, which is loaded")
        manager.register(plugin, name=name)
        manager.check_pending()
        origin = Origin(origin.distribution, origin.version, origin.entry_point, _file(plugin))
        members = tuple(entry for kind in kinds.KINDS for entry in _given(manager, plugin, origin, kind))
        _check_new(members, [entry for other in earlier for entry in other.members])
        return Plugin(origin, members, _commands(manager, plugin))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, or pytest's Skipped: the others and `zoo` itself go on
        if manager.has_plugin(name):
            manager.unregister(name=name)
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        return Plugin(origin, error=cause, traceback=traceback.format_exc())


def _given(manager: pluggy.PluginManager, plugin: object, origin: Origin, kind: Kind) -> Iterator[Entry[Any]]:
    """What a plugin's implementations of the hook of one kind give."""
    if not manager.get_hookcallers(plugin):
        hooks = f"{', '.join(kind.hook for kind in kinds.KINDS)} or zoo_commands"
        raise PluginError(f"it implements no hook: is @hookimpl missing above {hooks}?")
    for impl in getattr(manager.hook, kind.hook).get_hookimpls():
        if impl.plugin is plugin:
            yield from members_of(impl.function(), origin, kind)


def _commands(manager: pluggy.PluginManager, plugin: object) -> tuple[PluginCommand, ...]:
    """What a plugin adds to the command line."""
    impls = [impl for impl in manager.hook.zoo_commands.get_hookimpls() if impl.plugin is plugin]
    return tuple(command for impl in impls for command in read_commands(impl.function))


def _check_new(entries: Iterable[Entry[Any]], earlier: Iterable[Entry[Any]]) -> None:
    given = {(entry.kind.name, entry.qualified_name): entry.origin.entry_point for entry in earlier}
    for entry in entries:
        first = given.get((entry.kind.name, entry.qualified_name))
        if first is not None:
            raise PluginError(
                f"it gives {entry.kind} {entry.name!r}, and so does entry point {first!r} of the same distribution"
            )


def _check_hides_nothing(plugin: Plugin, others: Iterable[Plugin]) -> None:
    """Refuse a name of another plugin: what is measured would be reported under the name of something else."""
    taken = {(entry.kind.name, entry.name): entry.origin for other in others for entry in other.members}
    for entry in plugin.members:
        if other := taken.get((entry.kind.name, entry.name)):
            raise UsageError(f"{plugin.origin} gives the {entry.kind} {entry.name!r}, and so does {other}: rename it")


def _name_and_version(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    # What pip leaves behind when it is cut short has neither, or cannot be read.
    try:
        metadata = getattr(distribution, "metadata", None) or {}
        return str(metadata.get("Name") or "unknown"), str(metadata.get("Version") or "0")
    except (OSError, ValueError):
        return "unknown", "0"


def _file(plugin: object) -> str | None:
    if isinstance(plugin, ModuleType):
        return plugin.__file__
    try:
        return inspect.getsourcefile(plugin if isinstance(plugin, type) else type(plugin))
    except TypeError:  # built into Python: no plugin, as will show
        return None


def _names(text: str) -> set[str]:
    return {normal_name(name.strip()) for name in text.split(",") if name.strip()}
