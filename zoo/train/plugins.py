"""Which plugins a run uses: recorded when it begins, and looked for when it goes on or is loaded."""

from collections.abc import Mapping
from typing import Any

from zoo.data.load import task_call
from zoo.plugin.catalogue import Entry
from zoo.plugin.pattern import parse
from zoo.plugin.registry import Registry, get_registry
from zoo.plugin.source_code import source_sha256
from zoo.train.settings import Settings

_TASK = "task:"
"""Stands before the name of a task where names of mixers stand beside it."""


def plugins_of(settings: Settings) -> dict[str, dict[str, str]]:
    """What gives each mixer of the pattern, and the task if there is one.

    Returns:
        By name: its ``distribution``, its ``version``, and the ``source_sha256`` of its code, see
        `zoo.plugin.source_code.source_sha256`, if it has a source file.
    """
    registry = get_registry()
    names = {call.name for layer in parse(settings.mixer).layers(settings.layers) for call in layer.mixers}
    recorded = {name: _record(registry.mixers.find(name)) for name in sorted(names)}
    task = task_call(settings.data)
    if task is not None:
        recorded[f"{_TASK}{task.name}"] = _record(registry.tasks.find(task.name))
    return recorded


def check_plugins(recorded: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Refuse to go on without what `plugins_of` recorded.

    Returns:
        What has another version or other source code now, in words, by its recorded name. Code that was not recorded is
        not compared.

    Raises:
        PluginError: a distribution is missing or broken.
        UsageError: a distribution is there and does not give a name any more.
    """
    registry, changed = get_registry(), {}
    for name, before in recorded.items():
        catalogue = registry.tasks if name.startswith(_TASK) else registry.mixers
        plain = plain_name(name)
        now = _record(catalogue.find(f"{before['distribution']}:{plain.rpartition(':')[2]}"))
        origin = f"{plain} comes from {now['distribution']} {now['version']}"
        if now["version"] != before["version"]:
            changed[name] = f"{origin}, and came from {before['version']} when this began"
        elif len({before.get("source_sha256"), now.get("source_sha256"), None}) > 2:
            changed[name] = f"{origin}, whose source code has changed since this began"
    return changed


def plain_name(recorded: str) -> str:
    """The name of a mixer or a task without what tells the two apart."""
    return recorded.removeprefix(_TASK)


def remembering(environment: Mapping[str, Any]) -> Registry:
    """The registry in which plain names mean what they meant when `plugins_of` recorded them."""
    given = {name: plugin["distribution"] for name, plugin in environment["plugins"].items()}
    tasks = {plain_name(name): owner for name, owner in given.items() if name.startswith(_TASK)}
    return get_registry().remembering({n: o for n, o in given.items() if not n.startswith(_TASK)}, tasks)


def _record(entry: Entry[Any]) -> dict[str, str]:
    origin, source = entry.origin, source_sha256(entry.cls)
    record = {"distribution": origin.distribution, "version": origin.version}
    return record if source is None else record | {"source_sha256": source}
