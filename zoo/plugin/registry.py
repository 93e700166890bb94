"""Discovery of mixers and tasks: who gives which, and what is broken."""

import importlib.metadata
import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from zoo.contract import TokenMixer
from zoo.errors import PluginError
from zoo.plugin import hookspecs
from zoo.plugin.catalogue import Catalogue, Entry, MixerEntry, Origin, Plugin, TaskEntry, normal_name
from zoo.plugin.isolation import isolated
from zoo.task import Task

__all__ = ["HOST", "MixerEntry", "Origin", "Plugin", "Registry", "TaskEntry", "get_registry"]

HOST = "mixer-zoo"
"""The distribution of the zoo itself, whose entry points bring the built-in mixers and tasks."""

Thing = TypeVar("Thing")

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Registry:
    """All mixers and tasks that the installed plugins give.

    Args:
        plugins: what was found, broken ones included.
        mixer_owners: settle plain names of mixers, by name: the distribution that a saved run had it from.
        task_owners: likewise of tasks.

    Attributes:
        mixers: what a pattern may name.
        tasks: what ``--data`` may name.
    """

    def __init__(
        self,
        plugins: Iterable[Plugin],
        mixer_owners: Mapping[str, str] | None = None,
        task_owners: Mapping[str, str] | None = None,
    ) -> None:
        self.plugins = plugins = tuple(plugins)
        mixers = (entry for plugin in plugins for entry in plugin.mixers)
        tasks = (entry for plugin in plugins for entry in plugin.tasks)
        self.mixers = Catalogue("mixer", mixers, plugins, mixer_owners)
        self.tasks = Catalogue("task", tasks, plugins, task_owners)

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

    def suite(self, name: str) -> tuple[str, ...]:
        """The names of the tasks of a suite, however it is spelt, in natural order; none if there is no such suite."""
        found = (entry for entry in self.tasks.list() if entry.cls.suite)
        members = (entry for entry in found if normal_name(entry.cls.suite) == normal_name(name.strip()))
        return tuple(self.tasks.display_name(entry) for entry in members)

    def remembering(self, mixer_owners: Mapping[str, str], task_owners: Mapping[str, str]) -> "Registry":
        """The same registry, in which plain names mean what these distributions give."""
        return Registry(self.plugins, mixer_owners, task_owners)


@cache
def get_registry() -> Registry:
    """The registry of this process, discovered on first use."""
    return Registry.discover()


def _entry_points(environ: Mapping[str, str]) -> Iterator[importlib.metadata.EntryPoint]:
    allowed, blocked = environ.get("ZOO_PLUGINS"), _names(environ.get("ZOO_BLOCK_PLUGINS", ""))
    points = importlib.metadata.entry_points(group=hookspecs.GROUP)
    for point in sorted(points, key=lambda point: (_origin(point).distribution, point.name)):
        owner = normal_name(_origin(point).distribution)
        wanted = allowed is None or owner in _names(allowed) | {HOST}
        if wanted and owner not in blocked:
            yield point


def _load(manager: pluggy.PluginManager, point: importlib.metadata.EntryPoint, earlier: Iterable[Plugin]) -> Plugin:
    with isolated() as changes:
        plugin = _registered(manager, point, earlier)
    return replace(plugin, changes=tuple(changes))


def _registered(
    manager: pluggy.PluginManager, point: importlib.metadata.EntryPoint, earlier: Iterable[Plugin]
) -> Plugin:
    origin = _origin(point)
    name = f"{origin.distribution}:{origin.entry_point}"
    try:
        plugin = point.load()
        if manager.is_registered(plugin):
            raise PluginError(f"it is the same object as {manager.get_name(plugin)}, which is loaded")
        manager.register(plugin, name=name)
        manager.check_pending()
        origin = Origin(origin.distribution, origin.version, origin.entry_point, _file(plugin))
        mixers = tuple(_given(manager, plugin, origin, "zoo_mixers", _checked_mixer))
        tasks = tuple(_given(manager, plugin, origin, "zoo_tasks", _checked_task))
        _check_new("mixer", mixers, [entry for other in earlier for entry in other.mixers])
        _check_new("task", tasks, [entry for other in earlier for entry in other.tasks])
        return Plugin(origin, mixers, tasks)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, or pytest's Skipped: the others and `zoo` itself go on
        if manager.has_plugin(name):
            manager.unregister(name=name)
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        return Plugin(origin, error=cause, traceback=traceback.format_exc())


def _given(
    manager: pluggy.PluginManager, plugin: object, origin: Origin, hook: str, checked: Callable[[str, Any], type[Thing]]
) -> Iterator[Entry[Thing]]:
    """What a plugin's implementations of one hook give."""
    if not manager.get_hookcallers(plugin):
        raise PluginError("it implements no hook: is @hookimpl missing above zoo_mixers() or zoo_tasks()?")
    for impl in getattr(manager.hook, hook).get_hookimpls():
        if impl.plugin is plugin:
            given = impl.function()
            if not isinstance(given, Mapping):
                kind = hook.removeprefix("zoo_")
                raise PluginError(f"{hook}() returned {type(given).__name__}, not a dict of {kind} by name")
            for name, cls in given.items():
                yield Entry(_checked_name(name), checked(name, cls), origin)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f"{name!r} is no name for a mixer or a task: use lower-case letters, digits and '-'")
    return name


def _checked_mixer(name: str, cls: Any) -> type[TokenMixer]:
    if not (isinstance(cls, type) and issubclass(cls, TokenMixer)):
        raise PluginError(f"what it gives as {name!r} is {cls!r}, not a subclass of zoo.TokenMixer")
    return cls


def _checked_task(name: str, cls: Any) -> type[Task]:
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise PluginError(f"what it gives as {name!r} is {cls!r}, not a subclass of zoo.Task")
    return cls


def _check_new(kind: str, entries: Iterable[Entry[Thing]], earlier: Iterable[Entry[Thing]]) -> None:
    given = {entry.qualified_name: entry.origin.entry_point for entry in earlier}
    for entry in entries:
        if entry.qualified_name in given:
            first = given[entry.qualified_name]
            raise PluginError(
                f"it gives {kind} {entry.name!r}, and so does entry point {first!r} of the same distribution"
            )


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


def _names(text: str) -> set[str]:
    return {normal_name(name.strip()) for name in text.split(",") if name.strip()}
