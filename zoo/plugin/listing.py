"""What the plugins of this environment give, remembered: for what cannot wait until they are imported.

The list lies in the cache, and is written anew whenever plugins were loaded and gave something else. It holds until a
distribution is installed or removed.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.files.cache_directory import cache_directory

if TYPE_CHECKING:
    from zoo.plugin.registry import Registry

_FORMAT = 1


@dataclass(frozen=True)
class Listing:
    """Names and first lines.

    Attributes:
        members: the summary of each member, by kind and by the shortest name that finds it.
        commands: the first line of the help of each plugin's command, by name.
    """

    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)


def read_listing(environ: Mapping[str, str] = os.environ) -> Listing | None:
    """What was remembered for this environment; None if nothing was, or it cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        saved = json.loads(_path().read_text(encoding="utf-8"))
        if saved["environment"] == _environment(environ):
            members = {str(kind): dict(names) for kind, names in saved["members"].items()}
            return Listing(members, dict(saved["commands"]))
    return None


def remember(registry: "Registry", environ: Mapping[str, str] = os.environ) -> None:
    """Write the list of what the installed plugins give, if it says something else. Without a cache nothing is done."""
    listing = listing_of(registry)
    if read_listing(environ) == listing:
        return
    from zoo.errors import ZooError
    from zoo.files.atomic import write_atomically

    with suppress(OSError, ZooError):
        _path().parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"environment": _environment(environ), **asdict(listing)})
        write_atomically(_path(), content)


def listing_of(registry: "Registry") -> Listing:
    """Names and first lines of all that plugins give."""
    from zoo.plugin.kinds import KINDS

    members = {kind.name: _summaries(registry[kind]) for kind in KINDS}
    commands = {command.name: command.summary for plugin in registry.plugins for command in plugin.commands}
    return Listing(members, commands)


def _summaries(catalogue: Any) -> dict[str, str]:
    return {catalogue.display_name(entry): entry.summary for entry in catalogue.list()}


def _path() -> Path:
    return cache_directory() / "plugins.json"


def _environment(environ: Mapping[str, str]) -> list[Any]:
    """What changes when a distribution is installed or removed; to read their metadata takes longer than the help."""
    added = environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = [path for path in sys.path if path and (Path(path).name.endswith("-packages") or path in added)]
    times = [[folder, Path(folder).stat().st_mtime_ns] for folder in folders if Path(folder).is_dir()]
    return [_FORMAT, times, environ.get("ZOO_PLUGINS"), environ.get("ZOO_BLOCK_PLUGINS")]
