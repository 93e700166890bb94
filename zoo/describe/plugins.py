"""What there is to know of the installed plugins."""

from typing import Any

from zoo.plugin import kinds
from zoo.plugin.registry import Plugin, Registry


def list_plugins(registry: Registry) -> list[dict[str, Any]]:
    """Every plugin that was found: origin, file, names by kind, status, error, traceback, changed global state."""
    return [_plugin(plugin) for plugin in registry.plugins]


def _plugin(plugin: Plugin) -> dict[str, Any]:
    origin = plugin.origin
    return {
        "distribution": origin.distribution,
        "version": origin.version,
        "entry_point": origin.entry_point,
        "file": origin.file,
        "gives": {kind.name: [entry.name for entry in plugin.of(kind)] for kind in kinds.KINDS if plugin.of(kind)},
        "commands": [command.name for command in plugin.commands],
        "status": "broken" if plugin.error else "ok",
        "error": plugin.error,
        "traceback": plugin.traceback,
        "changed_global_state": list(plugin.changes),
    }
