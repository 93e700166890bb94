"""What the plugins of this environment give, remembered: for what cannot wait until they are imported.

The list lies in the cache, and is written anew whenever plugins were loaded and gave something else. It holds until a
distribution is installed or removed; completion, which does no harm with a name too many, uses it beyond that.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.files.cache_directory import cache_directory

if TYPE_CHECKING:
    from zoo.plugin.registry import Registry

_FORMAT = 2


@dataclass(frozen=True)
class Listing:
    """Names and first lines.

    Attributes:
        members: the summary of each member, by kind and by the shortest name that finds it.
        commands: the first line of the help of each plugin's command, by name.
        options: the names of the options of each member, by kind and name.
        words: what else is completed, e.g. presets: the meaning of each word, by what it is and by the word.
        program: the commands with their flags, as the command line describes them.
        sources: changes with the code that words and program were read from.
    """

    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    program: Mapping[str, Any] = field(default_factory=dict)
    sources: str = ""


def read_listing(environ: Mapping[str, str] = os.environ, *, exact: bool = True) -> Listing | None:
    """What was remembered for this environment; None if nothing was, or it cannot be read.

    Args:
        environ: which plugins are allowed, and where they are looked for.
        exact: a distribution that was installed or removed since makes it worthless.
    """
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        saved = json.loads(_path().read_text(encoding="utf-8"))
        environment = _environment(environ)
        if saved["environment"] == environment or (not exact and _alike(saved["environment"], environment)):
            members = {str(kind): dict(names) for kind, names in saved["members"].items()}
            rest = {name: saved[name] for name in ("options", "words", "program", "sources")}
            return Listing(members, dict(saved["commands"]), **rest)
    return None


def remember(
    registry: "Registry",
    environ: Mapping[str, str] = os.environ,
    *,
    sources: str = "",
    describe: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Write the list of what the installed plugins give, if it says something else. Without a cache nothing is done.

    Args:
        registry: what they give.
        environ: as `read_listing` takes it.
        sources: changes with the code that `describe` looks at.
        describe: gives the ``words`` and the ``program``; called only if something has changed.
    """
    given, saved = listing_of(registry), read_listing(environ)
    if saved is not None and replace(saved, words={}, program={}) == replace(given, sources=sources):
        return
    from zoo.files.atomic import write_atomically

    with suppress(Exception):  # the command is done, and does not fail for want of a list
        _path().parent.mkdir(parents=True, exist_ok=True)
        listing = replace(given, sources=sources, **describe())
        content = json.dumps({"environment": _environment(environ), **asdict(listing)})
        write_atomically(_path(), content)


def listing_of(registry: "Registry") -> Listing:
    """Names, first lines and options of all that plugins give."""
    from zoo.plugin.kinds import KINDS

    members = {kind.name: _summaries(registry[kind]) for kind in KINDS}
    options = {kind.name: _options(registry[kind]) for kind in KINDS}
    commands = {command.name: command.summary for plugin in registry.plugins for command in plugin.commands}
    return Listing(members, commands, options)


def _summaries(catalogue: Any) -> dict[str, str]:
    return {catalogue.display_name(entry): entry.summary for entry in catalogue.list()}


def _options(catalogue: Any) -> dict[str, list[str]]:
    """Without those whose options cannot be read, which is for whoever uses them to hear."""
    found = {}
    for entry in catalogue.list():
        with suppress(Exception):
            if names := [option.name for option in entry.options]:
                found[catalogue.display_name(entry)] = names
    return found


def _path() -> Path:
    return cache_directory() / "plugins.json"


def _environment(environ: Mapping[str, str]) -> list[Any]:
    """What changes when a distribution is installed or removed; to read their metadata takes longer than the help."""
    added = environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = [path for path in sys.path if path and (Path(path).name.endswith("-packages") or path in added)]
    times = [[folder, Path(folder).stat().st_mtime_ns] for folder in folders if Path(folder).is_dir()]
    return [_FORMAT, times, environ.get("ZOO_PLUGINS"), environ.get("ZOO_BLOCK_PLUGINS")]


def _alike(saved: list[Any], environment: list[Any]) -> bool:
    """Whether both are of the same folders and the same rules, whatever was installed in between."""

    def without_times(of: list[Any]) -> list[Any]:
        return [of[0], [folder for folder, _ in of[1]], *of[2:]]

    return without_times(saved) == without_times(environment)
